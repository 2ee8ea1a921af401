using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using Kapell.Etcd.Server.Hosting;
using Microsoft.Win32.SafeHandles;

namespace Kapell.Etcd.Server.Sockets;

/// <summary>
/// One thread that reads many sockets (epoll(7)). What all of them have when it looks is one batch (<see cref="WorkBatch"/>): one turn of the
/// replica and one write of the log for the requests of many clients, then their answers. Everything of a connection but its sending happens
/// on this thread.
/// </summary>
internal sealed class SocketLoop : IDisposable
{
    private const int BufferBytes = 128 * 1024;
    private const int EventsMax = 128;
    private const int WakeKey = 0;

    // Woken more often than this, the loop lets others run first, and finds more at once when it comes to run. That saves a tenth of its time;
    // but with less to do it would only wait, behind whatever else the machine does, for what is there already.
    private const int PatientFromWakesPerSecond = 4000;
    private const int WakesBetweenLooks = 1024;

    private readonly SafeFileHandle _poll = Native.CreatePoll();
    private readonly SafeFileHandle _wake = Native.CreateEvent(); // Never closed before the last who may signal it is gone.
    private readonly Lock _late = new(); // Held by who does what was asked for after the end.
    private readonly ConcurrentQueue<Action> _asked = new();
    private readonly Dictionary<int, LoopConnection> _connections = [];
    private readonly byte[] _events = GC.AllocateUninitializedArray<byte>(EventsMax * Native.EventBytes, pinned: true);
    private readonly Thread _thread;
    private readonly TimeProvider _time;
    private long _looked;
    private int _wakes;
    private bool _isPatient;
    private int _lastKey = WakeKey;
    private int _isWoken;
    private bool _stops;
    private volatile bool _hasEnded;

    public SocketLoop(int number, TimeProvider time)
    {
        _time = time;
        _looked = time.GetTimestamp();
        Native.Add(_poll, _wake, Native.In | Native.EdgeTriggered, WakeKey);
        _thread = new Thread(Run) { IsBackground = true, Name = $"kapell-sockets{number}" };
        _thread.Start();
    }

    /// <summary>What a socket's bytes are read into; only for the loop's thread, and only until the next read.</summary>
    public Memory<byte> Buffer { get; } = GC.AllocateUninitializedArray<byte>(BufferBytes, pinned: true);

    /// <summary>Done by the loop's thread, in the order in which it is asked for; when the loop has ended, by the caller's.</summary>
    public void Ask(Action work)
    {
        _asked.Enqueue(work);
        if (_hasEnded)
        {
            DoLate();
        }
        else if (Interlocked.Exchange(ref _isWoken, 1) == 0)
        {
            Native.Signal(_wake);
        }
    }

    /// <summary>From now on events of the socket come to the connection. On the loop's thread.</summary>
    /// <returns>For <see cref="Remove"/>.</returns>
    /// <exception cref="IOException">The kernel watches no more sockets.</exception>
    public int Add(LoopConnection connection, SafeHandle socket)
    {
        if (_hasEnded)
        {
            throw new IOException("the server has stopped");
        }

        do
        {
            _lastKey = _lastKey == int.MaxValue ? WakeKey + 1 : _lastKey + 1;
        }
        while (_connections.ContainsKey(_lastKey));

        Native.Add(_poll, socket, Native.In | Native.Out | Native.ReadHangUp | Native.EdgeTriggered, _lastKey);
        _connections.Add(_lastKey, connection);
        return _lastKey;
    }

    /// <summary>On the loop's thread, while the socket is open.</summary>
    public void Remove(int key, SafeHandle socket)
    {
        _connections.Remove(key);
        if (!_hasEnded)
        {
            Native.Remove(_poll, socket);
        }
    }

    /// <summary>Ends the thread when what was asked for before is done, and every connection that is left.</summary>
    public void Dispose()
    {
        Ask(() => _stops = true);
        _thread.Join();
    }

    private void Run()
    {
        while (!_stops)
        {
            int count = Native.Wait(_poll, _events);
            LookHowBusy();
            WorkBatch.TryBegin();
            try
            {
                for (int i = 0; i < count; i++)
                {
                    (uint events, int key) = Native.Read(_events, i);
                    if (key == WakeKey)
                    {
                        Native.Reset(_wake);
                    }
                    else if (_connections.TryGetValue(key, out LoopConnection? connection))
                    {
                        connection.Happened(events);
                    }
                }

                DoAsked();
            }
            finally
            {
                WorkBatch.End();
            }
        }

        foreach (LoopConnection connection in _connections.Values)
        {
            connection.Abort();
        }

        _hasEnded = true;
        _poll.Dispose();
        DoLate();
    }

    private void LookHowBusy()
    {
        if (++_wakes < WakesBetweenLooks)
        {
            return;
        }

        bool patient = _time.GetElapsedTime(_looked).TotalSeconds * PatientFromWakesPerSecond < WakesBetweenLooks;
        (_wakes, _looked) = (0, _time.GetTimestamp());
        if (patient != _isPatient)
        {
            _isPatient = patient;
            Native.BePatient(patient);
        }
    }

    private void DoLate()
    {
        lock (_late)
        {
            while (_asked.TryDequeue(out Action? work))
            {
                work();
            }
        }
    }

    private void DoAsked()
    {
        // Before the queue is looked at: what comes after the look wakes the loop once more.
        Interlocked.Exchange(ref _isWoken, 0);
        for (int i = _asked.Count; i > 0 && _asked.TryDequeue(out Action? work); i--)
        {
            work();
        }

        if (!_asked.IsEmpty && Interlocked.Exchange(ref _isWoken, 1) == 0)
        {
            Native.Signal(_wake);
        }
    }
}
