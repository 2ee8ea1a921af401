using System.Buffers;
using System.Globalization;
using System.Text;
using Kapell.Base;
using Microsoft.AspNetCore.Http;

namespace Kapell.Etcd.Server.Metrics;

/// <summary>
/// Writes metrics as Prometheus reads them: its text format, version 0.0.4. Line by line into the buffers that are sent: as one string a member's
/// are hundreds of kilobytes, and what is as large is collected together with all that is old, for which everything may stand still for tens of milliseconds.
/// </summary>
internal sealed class MetricsText(IBufferWriter<byte> output)
{
    // Of a number: a decimal has 29 digits, a long 19.
    private const int NumberMax = 64;

    /// <summary>Answers a request with what is written. Nothing is sent before all of it is there, so who fails to write it answers with 500.</summary>
    public static async Task ServeAsync(HttpContext context, Action<MetricsText> write)
    {
        Announce(context.Response);
        write(new MetricsText(context.Response.BodyWriter));
        await context.Response.BodyWriter.FlushAsync(context.RequestAborted);
    }

    /// <summary>The headers of such a text.</summary>
    public static void Announce(HttpResponse response)
    {
        response.ContentType = "text/plain; version=0.0.4; charset=utf-8";
        response.Headers.XContentTypeOptions = "nosniff";
    }

    public void Gauge(string name, string help, decimal value) => Single(name, help, "gauge", value);

    public void Counter(string name, string help, decimal value) => Single(name, help, "counter", value);

    /// <summary>Values with labels, such as <c>To="8e9e05c52164694d"</c>; nothing when there is no value.</summary>
    public void Gauges<T>(string name, string help, IEnumerable<(string Labels, T Value)> samples)
        where T : IUtf8SpanFormattable => Labelled(name, help, "gauge", samples);

    public void Counters(string name, string help, IEnumerable<(string Labels, long Value)> samples) => Labelled(name, help, "counter", samples);

    public void Histogram(string name, string help, Histogram histogram) => Histograms(name, help, [("", histogram)]);

    public void Histograms(string name, string help, IEnumerable<(string Labels, Histogram Times)> histograms)
    {
        bool any = false;
        foreach ((string labels, Histogram times) in histograms)
        {
            if (!any)
            {
                Head(name, help, "histogram");
                any = true;
            }

            long[] counts = times.Cumulated();
            for (int i = 0; i < times.Bounds.Count; i++)
            {
                Bucket(name, labels).Put(times.Bounds[i], "0.######").Put("\"} ").Put(counts[i]).Put("\n");
            }

            Bucket(name, labels).Put("+Inf\"} ").Put(counts[^1]).Put("\n");
            Put(name).Put("_sum").Put(labels, "{", "}").Put(" ").Put(times.Sum).Put("\n");
            Put(name).Put("_count").Put(labels, "{", "}").Put(" ").Put(counts[^1]).Put("\n");
        }
    }

    /// <summary>A label's value: whatever a client said may stand in it.</summary>
    public static string Escape(string value) =>
        value.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal).Replace("\n", "\\n", StringComparison.Ordinal);

    private void Single(string name, string help, string kind, decimal value)
    {
        Head(name, help, kind);
        Put(name).Put(" ").Put(value).Put("\n");
    }

    private void Labelled<T>(string name, string help, string kind, IEnumerable<(string Labels, T Value)> samples)
        where T : IUtf8SpanFormattable
    {
        bool any = false;
        foreach ((string labels, T value) in samples)
        {
            if (!any)
            {
                Head(name, help, kind);
                any = true;
            }

            Put(name).Put("{").Put(labels).Put("} ").Put(value).Put("\n");
        }
    }

    private void Head(string name, string help, string kind) =>
        Put("# HELP ").Put(name).Put(" ").Put(help).Put("\n# TYPE ").Put(name).Put(" ").Put(kind).Put("\n");

    // Up to the bound's first digit.
    private MetricsText Bucket(string name, string labels) => Put(name).Put("_bucket{").Put(labels, "", ",").Put("le=\"");

    private MetricsText Put(string text)
    {
        Encoding.UTF8.GetBytes(text, output);
        return this;
    }

    // With something around it, if there is any of it.
    private MetricsText Put(string text, string before, string behind) => text.Length > 0 ? Put(before).Put(text).Put(behind) : this;

    private MetricsText Put<T>(T number, string format = "")
        where T : IUtf8SpanFormattable
    {
        Span<byte> room = output.GetSpan(NumberMax);
        Check.That(number.TryFormat(room, out int length, format, CultureInfo.InvariantCulture), "a number of a metric is short");
        output.Advance(length);
        return this;
    }
}
