using System.Text;
using Microsoft.Extensions.Logging;

namespace Kapell.Cli.Up;

/// <summary>The entry point that every component offers (docs/ARCHITECTURE.md): upstream's flags in, exit code out.</summary>
internal delegate Task<int> ComponentMain(
    IReadOnlyList<string> args, TimeProvider time, ulong seed, ILoggerFactory logs, TextWriter output, CancellationToken stopping);

/// <summary>One component running inside this process, with its own log file and its own stop.</summary>
internal sealed class Component(
    string name, ComponentMain main, IReadOnlyList<string> args, ClusterLayout layout, LogLevel level, TimeProvider time, bool startsAgain) : IDisposable
{
    private readonly CancellationTokenSource _stopping = new();
    private readonly StringWriter _said = new(new StringBuilder());
    private Task<int>? _running;
    private FileLogs? _logs;

    public string Name => name;

    /// <summary>Its end is no end of the cluster: see <see cref="ClusterHost.WaitAsync"/>.</summary>
    public bool StartsAgain => startsAgain;

    public string LogFile => Path.Combine(layout.Logs, name + ".log");

    /// <summary>Ends when the component does.</summary>
    public Task<int> Completion => _running!;

    public void Start(ulong seed)
    {
        _logs = new FileLogs(LogFile, level, time);
        _running = Task.Run(() => main(args, time, seed, _logs, TextWriter.Synchronized(_said), _stopping.Token));
    }

    /// <summary>The same component, not started.</summary>
    public Component Again() => new(name, main, args, layout, level, time, startsAgain);

    public async Task StopAsync()
    {
        if (_running is null)
        {
            return;
        }

        await _stopping.CancelAsync();
        await ((Task)_running).WaitAsync(TimeSpan.FromSeconds(20), time).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (!_running.IsCompleted)
        {
            _logs!.CreateLogger("up").LogError("{Component} did not stop in 20 s", name);
        }

        _logs!.Dispose();
    }

    public void Dispose()
    {
        _stopping.Dispose();
        _said.Dispose();
        _logs?.Dispose();
    }

    /// <summary>Why it ended, for people.</summary>
    public UpException Failure()
    {
        string said = _said.ToString().Trim();
        string why = _running is { IsFaulted: true } ? _running.Exception!.GetBaseException().Message : said.Length > 0 ? said : "it gave no reason";
        return new UpException($"{name} ended: {why}", "see " + LogFile);
    }
}
