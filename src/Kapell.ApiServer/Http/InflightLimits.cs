using Kapell.Machinery;

namespace Kapell.ApiServer.Http;

/// <summary>At most so many reads and writes at a time; more are told to come back (upstream: server/filters/maxinflight.go).</summary>
internal sealed class InflightLimits(ServerOptions options)
{
    private int _reading;
    private int _mutating;

    /// <exception cref="StatusException">429 with Retry-After.</exception>
    public Slot Enter(RequestInfo info)
    {
        bool mutating = !info.IsReadOnly && info.Verb != "get";
        int max = mutating ? options.MaxMutatingRequestsInflight : options.MaxRequestsInflight;
        int now = mutating ? Interlocked.Increment(ref _mutating) : Interlocked.Increment(ref _reading);
        Slot slot = new(this, mutating);
        if (max > 0 && now > max)
        {
            slot.Dispose();
            throw new StatusException(Status.TooManyRequests("Too many requests, please try again later.", 1));
        }

        return slot;
    }

    private void Leave(bool mutating)
    {
        _ = mutating ? Interlocked.Decrement(ref _mutating) : Interlocked.Decrement(ref _reading);
    }

    /// <summary>One request's place.</summary>
    internal sealed class Slot(InflightLimits owner, bool mutating) : IDisposable
    {
        private bool _left;

        public void Dispose()
        {
            if (!_left)
            {
                _left = true;
                owner.Leave(mutating);
            }
        }
    }
}
