using System.Diagnostics;

namespace Kapell.Faults.World;

/// <summary>Runs the tools of the system, each with a time limit.</summary>
internal static class Shell
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    /// <summary>What the command printed. Arguments are split at blanks.</summary>
    /// <exception cref="FaultsFailedException">It failed, or did not end in time.</exception>
    public static string Run(string command, string? input = null)
    {
        (int code, string said) = Try(command, input);
        return code == 0 ? said : throw new FaultsFailedException($"`{command}` ended with {code}: {said}");
    }

    public static (int Code, string Said) Try(string command, string? input = null)
    {
        string[] words = command.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        ProcessStartInfo info = new(words[0], words[1..])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            RedirectStandardInput = true,
        };
        using Process process = Process.Start(info)!;
        if (input is not null)
        {
            process.StandardInput.Write(input);
        }

        process.StandardInput.Close();
        Task<string> errors = process.StandardError.ReadToEndAsync();
        Task<string> output = process.StandardOutput.ReadToEndAsync();
        if (!process.WaitForExit(Limit))
        {
            process.Kill();
            throw new FaultsFailedException($"`{command}` did not end within {Limit.TotalSeconds} s");
        }

        return (process.ExitCode, output.GetAwaiter().GetResult().Trim() + errors.GetAwaiter().GetResult().Trim());
    }
}

/// <summary>A promise was broken, or the test itself cannot go on; the message says which and where.</summary>
internal sealed class FaultsFailedException(string message) : Exception(message);
