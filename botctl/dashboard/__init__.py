"""The live dashboard: what it shows (model), how a frame looks (frame), and the terminal (screen)."""
