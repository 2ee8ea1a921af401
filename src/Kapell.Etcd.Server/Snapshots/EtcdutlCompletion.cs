namespace Kapell.Etcd.Server.Snapshots;

/// <summary>Scripts with which a shell completes the words of <c>etcdutl</c>. etcd: etcdutl/completion_commmand.go</summary>
internal static class EtcdutlCompletion
{
    private const string Commands = "completion defrag hashkv help log restore snapshot verify version";
    private const string Shells = "bash zsh fish powershell";

    private const string Bash = $$"""
        # bash completion for etcdutl
        _etcdutl() {
          local word=${COMP_WORDS[COMP_CWORD]}
          case ${COMP_WORDS[*]:1:COMP_CWORD-1} in
            "") COMPREPLY=($(compgen -W "{{Commands}}" -- "$word")) ;;
            snapshot) COMPREPLY=($(compgen -W "restore status" -- "$word")) ;;
            completion) COMPREPLY=($(compgen -W "{{Shells}}" -- "$word")) ;;
            *) COMPREPLY=($(compgen -f -- "$word")) ;;
          esac
        }
        complete -o filenames -F _etcdutl etcdutl
        """;

    private const string Zsh = $$"""
        #compdef etcdutl
        _etcdutl() {
          case ${words[2,CURRENT-1]} in
            "") compadd {{Commands}} ;;
            snapshot) compadd restore status ;;
            completion) compadd {{Shells}} ;;
            *) _files ;;
          esac
        }
        compdef _etcdutl etcdutl
        """;

    private const string Fish = $$"""
        # fish completion for etcdutl
        complete -c etcdutl -n __fish_use_subcommand -f -a "{{Commands}}"
        complete -c etcdutl -n "__fish_seen_subcommand_from snapshot" -a "restore status"
        complete -c etcdutl -n "__fish_seen_subcommand_from completion" -f -a "{{Shells}}"
        """;

    private const string PowerShell = $$"""
        # powershell completion for etcdutl
        Register-ArgumentCompleter -Native -CommandName etcdutl -ScriptBlock {
          param($word, $ast, $position)
          $before = ($ast.CommandElements | Select-Object -Skip 1 | ForEach-Object { "$_" } | Where-Object { $_ -ne $word }) -join ' '
          $next = switch ($before) { '' { '{{Commands}}' } 'snapshot' { 'restore status' } 'completion' { '{{Shells}}' } default { '' } }
          $next -split ' ' | Where-Object { $_ -like "$word*" }
        }
        """;

    /// <summary>The script for a shell, or null: it is not one of the four.</summary>
    public static string? For(string shell) => shell switch
    {
        "bash" => Bash,
        "zsh" => Zsh,
        "fish" => Fish,
        "powershell" => PowerShell,
        _ => null,
    };
}
