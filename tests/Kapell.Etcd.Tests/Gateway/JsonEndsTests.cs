using System.Buffers;
using System.Text;
using System.Text.Json;
using CsCheck;
using Kapell.Etcd.Server.Http.Gateway;
using Xunit;

namespace Kapell.Etcd.Tests.Gateway;

/// <summary>The look for the end of a JSON value, held to the reader itself.</summary>
public sealed class JsonEndsTests
{
    private static readonly string[] Values = ["{}", """{"a":"}]\\\""}""", """{"k":["{",{"\"":1}],"v":"\\"}""", """ [1, "[", {"x":[]}]""", "\"text\\\"\"", "\n{\"a\":null}"];

    [Fact]
    public void A_value_that_has_ended_is_never_missed() => Gen.Select(
        Gen.Int[0, Values.Length - 1].Array[1, 6], Gen.Int[1, 9].Array[1, 40], Gen.Int[0, 20_000]).Sample(
        (which, steps, padding) =>
        {
            // So long that not everything is parsed each time.
            byte[] all = Encoding.UTF8.GetBytes($"{{\"p\":\"{new string('p', padding)}\"}}" + string.Concat(which.Select(static i => Values[i])));
            JsonEnds ends = default;
            int start = 0;
            int there = 0;
            for (int step = 0; there < all.Length; step++)
            {
                there = Math.Min(all.Length, there + (steps[step % steps.Length] * (there < padding ? 1000 : 1)));
                while (start < there)
                {
                    ReadOnlySequence<byte> held = new(all, start, there - start);
                    bool mayEnd = ends.MayEnd(held);
                    long end = EndOfFirst(held);
                    Assert.True(mayEnd || end == 0, $"missed the end at {end} of {Encoding.UTF8.GetString(held.ToArray())}");
                    if (end == 0)
                    {
                        break;
                    }

                    ends.Taken(end);
                    start += (int)end;
                }
            }
        },
        iter: 2_000);

    [Fact]
    public void A_long_string_byte_by_byte_is_parsed_a_few_times_alone()
    {
        byte[] all = Encoding.UTF8.GetBytes("{\"key\":\"" + new string('A', 1 << 20));
        JsonEnds ends = default;
        int parsed = 0;
        for (int there = 1; there <= all.Length; there++)
        {
            parsed += ends.MayEnd(new ReadOnlySequence<byte>(all, 0, there)) && there > 16 << 10 ? 1 : 0;
        }

        Assert.InRange(parsed, 1, 20);
    }

    private static long EndOfFirst(in ReadOnlySequence<byte> held)
    {
        Utf8JsonReader reader = new(held, isFinalBlock: false, new JsonReaderState(new JsonReaderOptions { AllowMultipleValues = true }));
        return reader.Read() && reader.TrySkip() ? reader.BytesConsumed : 0;
    }
}
