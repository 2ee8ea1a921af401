using System.Diagnostics;
using System.Text;

namespace Kapell.Conformance.Kube;

/// <summary>One program of the cluster under test: started here, ended here, its words kept for when something goes wrong.</summary>
internal sealed class ServerProcess : IAsyncDisposable
{
    private readonly Process _process;
    private readonly StringBuilder _said = new();

    private ServerProcess(Process process) => _process = process;

    public bool HasExited => _process.HasExited;

    /// <summary>The last 8,000 characters of what it wrote.</summary>
    public string Said
    {
        get
        {
            lock (_said)
            {
                return _said.Length > 8000 ? _said.ToString(_said.Length - 8000, 8000) : _said.ToString();
            }
        }
    }

    public static ServerProcess Start(string program, string directory, params string[] arguments)
    {
        ProcessStartInfo start = new(program, arguments)
        {
            RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = directory,
        };
        start.Environment["DOTNET_gcServer"] = "0";
        ServerProcess server = new(new Process { StartInfo = start });
        server._process.OutputDataReceived += server.Keep;
        server._process.ErrorDataReceived += server.Keep;
        server._process.Start();
        server._process.BeginOutputReadLine();
        server._process.BeginErrorReadLine();
        return server;
    }

    /// <summary>A port that is free now. Whoever takes it must cope with losing a race for it.</summary>
    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
        {
            _process.Kill(entireProcessTree: true);
        }

        await _process.WaitForExitAsync();
        _process.Dispose();
    }

    private void Keep(object sender, DataReceivedEventArgs line)
    {
        lock (_said)
        {
            _said.AppendLine(line.Data);
        }
    }
}
