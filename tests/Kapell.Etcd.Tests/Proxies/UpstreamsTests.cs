using Kapell.Etcd.Server.Proxies;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Time.Testing;
using Xunit;

namespace Kapell.Etcd.Tests.Proxies;

public sealed class UpstreamsTests : IAsyncDisposable
{
    private readonly FakeTimeProvider _time = new();
    private readonly Lines _lines = new();
    private readonly Upstreams _upstreams;

    public UpstreamsTests() => _upstreams = new Upstreams(new GrpcProxyFlags().Parse(["start"]), ["http://a:1", "http://b:2"], _time, _lines);

    public ValueTask DisposeAsync() => _upstreams.DisposeAsync();

    [Fact]
    public void Who_does_not_serve_is_asked_after_the_others_for_a_while()
    {
        Upstream a = _upstreams.InOrder()[0];
        _upstreams.Suspect(a, "no leader");
        Assert.All(Enumerable.Range(0, 4), _ => Assert.Same(a, _upstreams.InOrder()[1]));
        _time.Advance(TimeSpan.FromSeconds(1.1));
        Assert.Equal(2, Enumerable.Range(0, 4).Select(_ => _upstreams.InOrder()[0]).Distinct().Count());
    }

    [Fact]
    public void The_log_says_once_that_one_does_not_serve_and_that_it_does_again()
    {
        (Upstream a, Upstream b) = (_upstreams.InOrder()[0], _upstreams.InOrder()[0]);
        _upstreams.Heard(a);
        Assert.Empty(_lines.All);
        for (int i = 0; i < 3; i++)
        {
            _upstreams.Suspect(a, "refused");
            _upstreams.Heard(b);
        }

        _upstreams.Heard(a);
        _upstreams.Heard(a);
        Assert.Equal([$"{a.Address} does not serve, others are asked first: refused", $"{a.Address} serves again"], _lines.All);

        // One that does now, and now not, is not worth two lines each time.
        for (int i = 0; i < 100; i++)
        {
            _upstreams.Suspect(a, "no leader");
            _upstreams.Heard(a);
        }

        Assert.Equal(2, _lines.All.Count);

        // One that stays lost after that is.
        _upstreams.Suspect(a, "no leader");
        _time.Advance(TimeSpan.FromSeconds(11));
        _upstreams.Suspect(a, "no leader");
        _upstreams.Suspect(a, "no leader");
        Assert.Equal($"{a.Address} does not serve, others are asked first: no leader", _lines.All[^1]);
        Assert.Equal(3, _lines.All.Count);
    }

    private sealed class Lines : ILogger
    {
        public List<string> All { get; } = [];

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
            All.Add(formatter(state, exception));
    }
}
