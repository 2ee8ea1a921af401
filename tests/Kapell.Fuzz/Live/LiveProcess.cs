using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Text;

namespace Kapell.Fuzz.Live;

/// <summary>A member as a process of its own on the loopback: clear text, TLS with a certificate of its own making, the peer port.</summary>
internal sealed class LiveProcess : IDisposable
{
    private readonly Process _process;
    private readonly StringBuilder _said = new();
    private readonly string _directory = Directory.CreateTempSubdirectory("kapell-fuzz-").FullName;
    private readonly HttpClient _http = new(new SocketsHttpHandler { UseProxy = false }) { Timeout = TimeSpan.FromSeconds(10) };

    public LiveProcess(int port)
    {
        (Clear, Tls, Peer) = (port, port + 1, port + 2);
        string program = Path.GetFullPath(Path.Combine(
            AppContext.BaseDirectory, "..", "..", "..", "..", "..", "src", "Kapell", "bin", "Release", "net10.0", "kapell"));
        string args = string.Create(CultureInfo.InvariantCulture, $"etcd --name fuzz --data-dir {_directory}/data --listen-client-urls http://127.0.0.1:{Clear},https://127.0.0.1:{Tls} "
            + $"--advertise-client-urls http://127.0.0.1:{Clear} --listen-peer-urls http://127.0.0.1:{Peer} --initial-advertise-peer-urls http://127.0.0.1:{Peer} "
            + $"--initial-cluster fuzz=http://127.0.0.1:{Peer} --auto-tls");
        ProcessStartInfo info = new(program, args.Split(' ')) { RedirectStandardOutput = true, RedirectStandardError = true };
        _process = new Process { StartInfo = info };
        _process.OutputDataReceived += (_, line) => Keep(line.Data);
        _process.ErrorDataReceived += (_, line) => Keep(line.Data);
        _process.Start();
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
    }

    public int Clear { get; }

    public int Tls { get; }

    public int Peer { get; }

    public bool HasExited => _process.HasExited;

    public HttpClient Http => _http;

    public string Said
    {
        get
        {
            lock (_said)
            {
                return _said.ToString();
            }
        }
    }

    public long ResidentMegabytes()
    {
        _process.Refresh();
        return _process.HasExited ? 0 : _process.WorkingSet64 >> 20;
    }

    public int Threads()
    {
        _process.Refresh();
        return _process.HasExited ? 0 : _process.Threads.Count;
    }

    /// <summary>Healthy, alarms aside, within a minute and a half.</summary>
    public async Task<bool> IsWellAsync()
    {
        long begun = Stopwatch.GetTimestamp();
        while (!HasExited && Stopwatch.GetElapsedTime(begun) < TimeSpan.FromSeconds(90))
        {
            try
            {
                using HttpResponseMessage response = await _http.GetAsync(new Uri($"http://127.0.0.1:{Clear}/health?exclude=NOSPACE&exclude=CORRUPT"));
                if (response.StatusCode == HttpStatusCode.OK)
                {
                    return true;
                }
            }
            catch (Exception e) when (e is HttpRequestException or TaskCanceledException)
            {
                // Not yet.
            }

            await Task.Delay(100);
        }

        return false;
    }

    public void Dispose()
    {
        if (!_process.HasExited)
        {
            _process.Kill();
        }

        _process.WaitForExit();
        _process.Dispose();
        _http.Dispose();
        Directory.Delete(_directory, recursive: true);
    }

    private void Keep(string? line)
    {
        lock (_said)
        {
            // Of a flood of words the first are enough.
            if (line is not null && _said.Length < 4 << 20)
            {
                _said.Append(line).Append('\n');
            }
        }
    }
}
