using CsCheck;
using Kapell.Machinery;
using Xunit;

namespace Kapell.Kube.Tests.Machinery;

public sealed class QuantityTests
{
    private static readonly string[] Suffixes = ["", "m", "u", "n", "k", "M", "G", "Ki", "Mi", "Gi", "e3", "e-2"];

    [Theory]
    [InlineData("0", "0")]
    [InlineData("100m", "100m")]
    [InlineData("0.5", "500m")]
    [InlineData("1000m", "1")]
    [InlineData("1024Mi", "1Gi")]
    [InlineData("1500Mi", "1500Mi")]
    [InlineData("0.5Gi", "512Mi")]
    [InlineData("1.5Gi", "1536Mi")]
    [InlineData("100Ki", "100Ki")]
    [InlineData("1000Ki", "1000Ki")]
    [InlineData("512Ki", "512Ki")]
    [InlineData("1000k", "1M")]
    [InlineData("12e3", "12e3")]
    [InlineData("1.2e3", "1200")]
    [InlineData("12000e0", "12e3")]
    [InlineData("0.1Ki", "102400m")]
    [InlineData("1.1i", null)]
    [InlineData("0.0000000001", "1n")]
    [InlineData("-5", "-5")]
    [InlineData("9223372036854775808Ki", "9223372036854775807")]
    [InlineData("100000000000000000000", "100E")]
    [InlineData("128974848", "128974848")]
    [InlineData("64Mi", "64Mi")]
    public void Text_becomes_the_canonical_form(string text, string? canonical)
    {
        bool good = Quantity.TryParse(text, out Quantity q, out string error);
        Assert.Equal(canonical is not null, good);
        Assert.Equal(canonical ?? "unable to parse quantity's suffix", good ? q.ToString() : error);
    }

    [Theory]
    [InlineData("")]
    [InlineData("1 Gi")]
    [InlineData("1.2.3")]
    [InlineData("abc")]
    [InlineData("0x1")]
    public void Wrong_text_is_refused_with_the_expression(string text)
    {
        Assert.False(Quantity.TryParse(text, out _, out string error));
        Assert.StartsWith("quantities must match the regular expression", error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("100m", 1, 100)]
    [InlineData("1500m", 2, 1500)]
    [InlineData("-1500m", -2, -1500)]
    [InlineData("2Ki", 2048, 2048000)]
    [InlineData("1e30", long.MaxValue, long.MaxValue)]
    [InlineData("1e1000000000", long.MaxValue, long.MaxValue)]
    public void Values_round_away_from_zero_and_stay_within_a_long(string text, long value, long milli)
    {
        Quantity q = Quantity.Parse(text);
        Assert.Equal((value, milli), (q.Value, q.MilliValue));
    }

    [Fact]
    public void Sums_keep_the_format_of_the_first_that_is_not_zero()
    {
        Assert.Equal("1536Mi", Quantity.Parse("1Gi").Add(Quantity.Parse("512Mi")).ToString());
        Assert.Equal("750m", Quantity.Parse("1").Sub(Quantity.Parse("250m")).ToString());
        Assert.Equal("512Mi", Quantity.Zero.Add(Quantity.Parse("512Mi")).ToString());
        Assert.True(Quantity.Parse("1Gi") == Quantity.Parse("1073741824"));
        Assert.True(Quantity.Parse("1e-9") < Quantity.Parse("1e999999999"));
    }

    [Fact]
    public void Canonical_text_reads_back_as_the_same_amount() =>
        Gen.Select(Gen.Long, Gen.Int[0, 11]).Sample((n, which) =>
        {
            Quantity q = Quantity.Parse(n + Suffixes[which]);
            Assert.Equal(q, Quantity.Parse(q.ToCanonicalString()));
        });
}
