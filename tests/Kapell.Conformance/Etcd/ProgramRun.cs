using System.Diagnostics;
using System.Globalization;
using System.Text;

namespace Kapell.Conformance.Etcd;

/// <summary>
/// A child process whose output is kept. Killed with this object, or at the latest when the test process ends in order.
/// </summary>
internal sealed class ProgramRun : IDisposable
{
    private readonly Process _process;
    private readonly StringBuilder _output = new();
    private readonly StringBuilder _errors = new();
    private readonly EventHandler _killAtExit;
    private bool _disposed;

    private ProgramRun(ProcessStartInfo start)
    {
        _process = new Process { StartInfo = start };
        _process.OutputDataReceived += (_, line) => Keep(_output, line.Data);
        _process.ErrorDataReceived += (_, line) => Keep(_errors, line.Data);
        _killAtExit = (_, _) => Kill();
    }

    public bool HasExited => _process.HasExited;

    public int Id => _process.Id;

    /// <summary>What it said so far: its output, then its errors.</summary>
    public string Said
    {
        get
        {
            lock (_output)
            {
                return _output.ToString() + _errors;
            }
        }
    }

    public static ProgramRun Start(string program, IEnumerable<string> args, params (string Name, string Value)[] environment)
    {
        ProcessStartInfo info = new(program) { RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true };
        foreach (string arg in args)
        {
            info.ArgumentList.Add(arg);
        }

        info.Environment["ETCDCTL_API"] = "3";
        foreach ((string name, string value) in environment)
        {
            info.Environment[name] = value;
        }

        ProgramRun run = new(info);
        AppDomain.CurrentDomain.ProcessExit += run._killAtExit;
        run._process.Start();
        run._process.BeginOutputReadLine();
        run._process.BeginErrorReadLine();
        return run;
    }

    /// <summary>Runs to the end; the exit code and all that it said.</summary>
    public static async Task<(int Code, string Said)> CompleteAsync(
        string program, IEnumerable<string> args, string input, CancellationToken cancellation)
    {
        using ProgramRun run = Start(program, args);
        await run._process.StandardInput.WriteAsync(input);
        run._process.StandardInput.Close();
        int code = await run.ExitAsync(cancellation);
        return (code, run.Said);
    }

    public async Task<int> ExitAsync(CancellationToken cancellation)
    {
        using CancellationTokenSource late = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        late.CancelAfter(TimeSpan.FromSeconds(60));
        await _process.WaitForExitAsync(late.Token);
        return _process.ExitCode;
    }

    /// <summary>Waits some seconds for it to have said this; whether it has.</summary>
    public async Task<bool> SaysAsync(string text, CancellationToken cancellation)
    {
        using PeriodicTimer pace = new(TimeSpan.FromMilliseconds(50));
        for (int tries = 200; tries > 0 && !Said.Contains(text, StringComparison.Ordinal); tries--)
        {
            await pace.WaitForNextTickAsync(cancellation);
        }

        return Said.Contains(text, StringComparison.Ordinal);
    }

    /// <summary>Asks it to end (SIGTERM).</summary>
    public void Terminate() => Signal("-TERM");

    /// <summary>It stands still from now on (SIGSTOP), its connections stay.</summary>
    public void Freeze() => Signal("-STOP");

    public void Kill()
    {
        if (!_process.HasExited)
        {
            _process.Kill();
        }
    }

    public void Dispose()
    {
        if (_disposed)
        {
            return;
        }

        _disposed = true;
        AppDomain.CurrentDomain.ProcessExit -= _killAtExit;
        Kill();
        _process.WaitForExit();
        _process.Dispose();
    }

    private void Signal(string name)
    {
        using Process kill = Process.Start("kill", [name, Id.ToString(CultureInfo.InvariantCulture)]);
        kill.WaitForExit();
    }

    private void Keep(StringBuilder into, string? line)
    {
        lock (_output)
        {
            if (line is not null)
            {
                into.Append(line).Append('\n');
            }
        }
    }
}
