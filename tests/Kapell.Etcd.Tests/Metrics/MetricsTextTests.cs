using System.Buffers;
using System.Globalization;
using System.Net;
using System.Text;
using Kapell.Base;
using Kapell.Etcd.Server.Metrics;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Xunit;

namespace Kapell.Etcd.Tests.Metrics;

/// <summary>The text that Prometheus reads, and that it is made without large pieces.</summary>
public sealed class MetricsTextTests
{
    [Fact]
    public void A_line_for_each_value_below_what_it_is()
    {
        string text = Written(static t =>
        {
            t.Gauge("a", "What a is.", 12.5m);
            t.Counters("b_total", "How often.", [("to=\"x\"", 1), ("to=\"ü\"", 2)]);
            t.Gauges<long>("none", "Of nothing.", []);
        });
        Assert.Equal(
            """
            # HELP a What a is.
            # TYPE a gauge
            a 12.5
            # HELP b_total How often.
            # TYPE b_total counter
            b_total{to="x"} 1
            b_total{to="ü"} 2

            """,
            text);
    }

    [Fact]
    public void A_histogram_cumulates_and_says_its_sum()
    {
        Histogram times = new(0.0005, 1, 8192);
        times.Observe(0.25);
        times.Observe(0.25);
        times.Observe(10000);
        Assert.Equal(
            """
            # HELP s A time.
            # TYPE s histogram
            s_bucket{le="0.0005"} 0
            s_bucket{le="1"} 2
            s_bucket{le="8192"} 2
            s_bucket{le="+Inf"} 3
            s_sum 10000.5
            s_count 3
            s_bucket{op="p",le="0.0005"} 0
            s_bucket{op="p",le="1"} 0
            s_bucket{op="p",le="8192"} 0
            s_bucket{op="p",le="+Inf"} 0
            s_sum{op="p"} 0
            s_count{op="p"} 0

            """,
            Written(t => t.Histograms("s", "A time.", [("", times), ("op=\"p\"", new Histogram(0.0005, 1, 8192))])));
    }

    /// <summary>The first of anything large on the collected heap is one too many: see <see cref="MetricsText"/>.</summary>
    [Fact]
    public void However_long_it_is_no_piece_of_it_is_large()
    {
        const int Many = 5000;
        Pieces pieces = new();
        new MetricsText(pieces).Counters("c_total", "Many.", Enumerable.Range(0, Many).Select(static i => ($"number=\"{i.ToString(CultureInfo.InvariantCulture)}\"", (long)i)));
        Assert.True(pieces.Written > 85_000);
        Assert.InRange(pieces.LargestAsked, 1, 1024);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(20_000)]
    public async Task Half_a_page_is_never_sent(int lines)
    {
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().UseSockets().ConfigureKestrel(static kestrel => kestrel.Listen(IPAddress.Loopback, 0));
        await using WebApplication app = builder.Build();
        app.Run(context => MetricsText.ServeAsync(context, text =>
        {
            text.Counters("c_total", "Many.", Enumerable.Range(0, lines).Select(static i => ($"n=\"{i.ToString(CultureInfo.InvariantCulture)}\"", 1L)));
            throw new IOException("what is read for it cannot be read");
        }));
        await app.StartAsync(TestContext.Current.CancellationToken);
        using HttpClient client = new();
        using HttpResponseMessage told = await client.GetAsync(new Uri(app.Urls.Single()), TestContext.Current.CancellationToken);
        Assert.Equal(HttpStatusCode.InternalServerError, told.StatusCode);
        Assert.Empty(await told.Content.ReadAsByteArrayAsync(TestContext.Current.CancellationToken));
    }

    private static string Written(Action<MetricsText> write)
    {
        ArrayBufferWriter<byte> bytes = new();
        write(new MetricsText(bytes));
        return Encoding.UTF8.GetString(bytes.WrittenSpan);
    }

    private sealed class Pieces : IBufferWriter<byte>
    {
        private readonly byte[] _room = new byte[64 << 10];

        public int LargestAsked { get; private set; }

        public long Written { get; private set; }

        public void Advance(int count) => Written += count;

        public Memory<byte> GetMemory(int sizeHint = 0)
        {
            LargestAsked = Math.Max(LargestAsked, sizeHint);
            return _room;
        }

        public Span<byte> GetSpan(int sizeHint = 0) => GetMemory(sizeHint).Span;
    }
}
