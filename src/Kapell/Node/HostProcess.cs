using System.ComponentModel;
using System.Diagnostics;

namespace Kapell.Cli.Node;

internal sealed record ProcessResult(int ExitCode, string Output, string Error);

/// <summary>A program of the machine was missing or failed; the message names it, what it said and the next step.</summary>
internal sealed class CommandFailedException(string message) : Exception(message);

/// <summary>Runs programs of the machine to their end, output collected.</summary>
internal static class HostProcess
{
    public static async Task<ProcessResult> RunAsync(
        string program, IReadOnlyList<string> arguments, CancellationToken stopping, string? directory = null, IReadOnlyDictionary<string, string>? environment = null)
    {
        ProcessStartInfo start = new(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true };
        if (directory is not null)
        {
            start.WorkingDirectory = directory;
        }

        foreach ((string key, string value) in environment ?? new Dictionary<string, string>())
        {
            start.Environment[key] = value;
        }

        Process process;
        try
        {
            process = Process.Start(start)!;
        }
        catch (Win32Exception)
        {
            return new ProcessResult(127, "", $"{program}: not found");
        }

        using (process)
        {
            process.StandardInput.Close();
            Task<string> output = process.StandardOutput.ReadToEndAsync(stopping);
            Task<string> error = process.StandardError.ReadToEndAsync(stopping);
            try
            {
                await process.WaitForExitAsync(stopping);
                return new ProcessResult(process.ExitCode, await output, await error);
            }
            catch (OperationCanceledException)
            {
                process.Kill();
                throw;
            }
        }
    }

    /// <exception cref="CommandFailedException">It did not end with 0.</exception>
    public static async Task<ProcessResult> MustRunAsync(
        string program, IReadOnlyList<string> arguments, string nextStep, CancellationToken stopping, string? directory = null, IReadOnlyDictionary<string, string>? environment = null)
    {
        ProcessResult result = await RunAsync(program, arguments, stopping, directory, environment);
        if (result.ExitCode != 0)
        {
            string said = (result.Error.Length > 0 ? result.Error : result.Output).Trim();
            string shown = said.Length > 600 ? said[^600..] : said;
            throw new CommandFailedException($"'{program} {string.Join(' ', arguments)}' ended with {result.ExitCode}: {shown}\n  next: {nextStep}");
        }

        return result;
    }

    /// <summary>Where a program lies, searching PATH and the system folders that a user's PATH may lack.</summary>
    public static string? Find(string program, params string[] moreFolders)
    {
        IEnumerable<string> folders = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':')
            .Concat(["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]).Concat(moreFolders);
        return folders.Where(f => f.Length > 0).Select(f => Path.Combine(f, program)).FirstOrDefault(File.Exists);
    }
}
