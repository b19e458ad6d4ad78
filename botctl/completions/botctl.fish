# TAB for fish: botctl answers a line a word, with its help behind a tab.
function _botctl
    env _BOTCTL_COMPLETE=fish_complete COMP_WORDS=(commandline --cut-at-cursor --current-process | string collect) COMP_CWORD=(commandline --current-token --cut-at-cursor | string collect) botctl 2>/dev/null | string replace --filter --regex '^plain,' ''
end
complete --command botctl --no-files --arguments '(_botctl)'
