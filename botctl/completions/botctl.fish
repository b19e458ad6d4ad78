# TAB for fish: botctl answers a line a word, with its help behind a tab; files only where a file is meant.
function _botctl
    set --local token (commandline --current-token --cut-at-cursor | string collect)
    set --local found (env _BOTCTL_COMPLETE=fish_complete COMP_WORDS=(commandline --cut-at-cursor --current-process | string collect) COMP_CWORD=$token botctl 2>/dev/null)
    string replace --filter --regex '^plain,' '' -- $found
    string match --quiet --regex '^(file|dir),' -- $found; and __fish_complete_path $token
end
complete --command botctl --no-files --arguments '(_botctl)'
