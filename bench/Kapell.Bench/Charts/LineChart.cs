using System.Globalization;
using System.Text;

namespace Kapell.Bench.Charts;

/// <summary>Points of one line, by rising x.</summary>
internal sealed record Series(string Name, IReadOnlyList<(double X, double Y)> Points);

/// <summary>Lines over a logarithmic x axis, as an SVG file.</summary>
internal sealed class LineChart(string title, string xTitle, string yTitle)
{
    private const int Width = 720;
    private const int Height = 360;
    private const int Left = 70;
    private const int Right = 20;
    private const int Top = 50;
    private const int Bottom = 60;

    public required IReadOnlyList<Series> Series { get; init; }

    public void Save(string file)
    {
        List<(double X, double Y)> all = [.. Series.SelectMany(static s => s.Points).Where(static p => double.IsFinite(p.Y))];
        SvgPage page = new(Width, Height, title);
        if (all.Count == 0)
        {
            page.Save(file);
            return;
        }

        double low = Math.Log10(all.Min(static p => p.X));
        double high = Math.Max(low + 0.1, Math.Log10(all.Max(static p => p.X)));
        double top = SvgPage.RoundUp(all.Max(static p => p.Y));
        double AtX(double x) => Left + ((Math.Log10(x) - low) / (high - low) * (Width - Left - Right));
        double AtY(double y) => Height - Bottom - (y / top * (Height - Top - Bottom));
        page.YAxis(Left, Width - Right, AtY, top, yTitle);
        foreach (double x in all.Select(static p => p.X).Distinct())
        {
            page.Text(AtX(x), Height - Bottom + 18, SvgPage.Short(x), "middle");
        }

        page.Text((Left + Width - Right) / 2.0, Height - 12, xTitle, "middle");
        for (int i = 0; i < Series.Count; i++)
        {
            string color = SvgPage.Color(i);
            page.Polyline([.. Series[i].Points.Where(static p => double.IsFinite(p.Y)).Select(p => (AtX(p.X), AtY(p.Y)))], color);
            page.Key(Left + (i * 200), 34, Series[i].Name, color);
        }

        page.Save(file);
    }
}

/// <summary>Groups of bars, as an SVG file: one group a case, one bar a contender.</summary>
internal sealed class BarChart(string title, string yTitle)
{
    private const int GroupWidth = 90;
    private const int Height = 380;
    private const int Left = 70;
    private const int Top = 50;
    private const int Bottom = 80;

    public required IReadOnlyList<string> Contenders { get; init; }

    public required IReadOnlyList<(string Case, IReadOnlyList<double> Values)> Groups { get; init; }

    public void Save(string file)
    {
        int width = Left + (Groups.Count * GroupWidth) + 20;
        SvgPage page = new(width, Height, title);
        double top = SvgPage.RoundUp(Groups.SelectMany(static g => g.Values).Where(double.IsFinite).DefaultIfEmpty(1).Max());
        double AtY(double y) => Height - Bottom - (y / top * (Height - Top - Bottom));
        page.YAxis(Left, width - 20, AtY, top, yTitle);
        double bar = (GroupWidth - 24.0) / Contenders.Count;
        for (int g = 0; g < Groups.Count; g++)
        {
            double x = Left + (g * GroupWidth) + 12;
            for (int c = 0; c < Contenders.Count; c++)
            {
                double value = Groups[g].Values[c];
                if (double.IsFinite(value))
                {
                    page.Bar(x + (c * bar), AtY(value), bar - 2, AtY(0) - AtY(value), SvgPage.Color(c));
                    page.Text(x + ((c + 0.5) * bar), AtY(value) - 4, value.ToString(value < 10 ? "F1" : "F0", CultureInfo.InvariantCulture), "middle", 9);
                }
            }

            string[] lines = Groups[g].Case.Split('\n');
            for (int i = 0; i < lines.Length; i++)
            {
                page.Text(x + ((GroupWidth - 24) / 2.0), Height - Bottom + 16 + (i * 14), lines[i], "middle", 11);
            }
        }

        for (int c = 0; c < Contenders.Count; c++)
        {
            page.Key(Left + (c * 200), 34, Contenders[c], SvgPage.Color(c));
        }

        page.Save(file);
    }
}

/// <summary>What both kinds of chart draw with.</summary>
internal sealed class SvgPage
{
    private static readonly string[] Colors = ["#2563eb", "#f59e0b", "#16a34a", "#dc2626"];
    private readonly StringBuilder _svg = new();

    public SvgPage(int width, int height, string title)
    {
        Add($"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">");
        Add($"<rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>");
        Text(12, 18, title, "start", 14);
    }

    public static string Color(int i) => Colors[i % Colors.Length];

    /// <summary>1, 2 or 5 times a power of ten, not below the value.</summary>
    public static double RoundUp(double value)
    {
        double power = Math.Pow(10, Math.Floor(Math.Log10(Math.Max(value, 1e-9))));
        foreach (double step in (double[])[1, 2, 5])
        {
            if (value <= step * power)
            {
                return step * power;
            }
        }

        return 10 * power;
    }

    public static string Short(double value) => value switch
    {
        >= 1e6 => (value / 1e6).ToString("0.#", CultureInfo.InvariantCulture) + " M",
        >= 1e3 => (value / 1e3).ToString("0.#", CultureInfo.InvariantCulture) + " k",
        _ => value.ToString("0.##", CultureInfo.InvariantCulture),
    };

    public void YAxis(double left, double right, Func<double, double> at, double top, string title)
    {
        for (int i = 0; i <= 5; i++)
        {
            double value = top * i / 5;
            Add($"<line x1=\"{left}\" y1=\"{at(value):F1}\" x2=\"{right}\" y2=\"{at(value):F1}\" stroke=\"#ddd\"/>");
            Text(left - 6, at(value) + 4, Short(value), "end");
        }

        double middle = (at(0) + at(top)) / 2;
        Add($"<text x=\"16\" y=\"{middle:F1}\" text-anchor=\"middle\" transform=\"rotate(-90 16 {middle:F1})\">{Escape(title)}</text>");
    }

    public void Text(double x, double y, string text, string anchor, int size = 12) =>
        Add($"<text x=\"{x:F1}\" y=\"{y:F1}\" text-anchor=\"{anchor}\" font-size=\"{size}\">{Escape(text)}</text>");

    public void Bar(double x, double y, double width, double height, string color) =>
        Add($"<rect x=\"{x:F1}\" y=\"{y:F1}\" width=\"{width:F1}\" height=\"{height:F1}\" fill=\"{color}\"/>");

    public void Key(double x, double y, string name, string color)
    {
        Bar(x, y - 10, 12, 12, color);
        Text(x + 18, y, name, "start");
    }

    public void Polyline(IReadOnlyList<(double X, double Y)> points, string color)
    {
        string list = string.Join(' ', points.Select(static p => string.Create(CultureInfo.InvariantCulture, $"{p.X:F1},{p.Y:F1}")));
        Add($"<polyline points=\"{list}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"/>");
        foreach ((double x, double y) in points)
        {
            Add($"<circle cx=\"{x:F1}\" cy=\"{y:F1}\" r=\"3\" fill=\"{color}\"/>");
        }
    }

    public void Save(string file)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(file))!);
        File.WriteAllText(file, _svg + "</svg>\n");
    }

    private static string Escape(string text) => text.Replace("&", "&amp;", StringComparison.Ordinal).Replace("<", "&lt;", StringComparison.Ordinal);

    private void Add(FormattableString text) => _svg.Append(text.ToString(CultureInfo.InvariantCulture)).Append('\n');
}
