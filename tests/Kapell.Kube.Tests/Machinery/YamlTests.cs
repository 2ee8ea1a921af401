using System.Text;
using Kapell.Machinery;
using Kapell.Machinery.Yaml;
using Xunit;

namespace Kapell.Kube.Tests.Machinery;

public sealed class YamlTests
{
    [Theory]
    [InlineData("a: yes\nb: \"yes\"\nc: 010\nd: 0x1F\ne: 1.5\nf: ~\ng: 1Gi\nh: '5'", """{"a":true,"b":"yes","c":8,"d":31,"e":1.5,"f":null,"g":"1Gi","h":"5"}""")]
    [InlineData("80: x\ny: z\n1_000: a", """{"80":"x","true":"z","1000":"a"}""")]
    [InlineData("base: &b {x: 1, z: 2}\nmine:\n  <<: *b\n  z: 3", """{"base":{"x":1,"z":2},"mine":{"z":3,"x":1}}""")]
    [InlineData("- a\n- [b, {c: d}]", """["a",["b",{"c":"d"}]]""")]
    [InlineData("t: |\n  one\n  two\n", """{"t":"one\ntwo\n"}""")]
    public void Yaml_becomes_the_json_kubernetes_sees(string yaml, string json) =>
        Assert.Equal(json, Encoding.UTF8.GetString(YamlToJson.ToUtf8(Encoding.UTF8.GetBytes(yaml), out _)));

    /// <summary>The library that reads YAML has other exceptions than its own for some of these.</summary>
    [Theory]
    [InlineData("name: n1\n[\uFFFDta-dir: GqyX/tmp/x\nlis'en-en-")]
    [InlineData("name: n1\n? ]")]
    [InlineData("a: [")]
    public void What_is_no_yaml_is_a_bad_request(string yaml) =>
        Assert.Equal(400, Assert.Throws<StatusException>(() => YamlToJson.ConvertAll(Encoding.UTF8.GetBytes(yaml))).Code);

    [Fact]
    public void Documents_of_a_stream_are_split_and_empty_ones_left_out() =>
        Assert.Equal(["{\"a\":1}", "{\"b\":2}"],
            YamlToJson.ConvertAll("---\na: 1\n---\n---\nb: 2\n"u8).Select(d => d!.ToJsonString()));

    [Fact]
    public void Aliases_may_not_blow_a_document_up()
    {
        StringBuilder bomb = new("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for (int i = 1; i < 10; i++)
        {
            bomb.Append($"a{i}: &a{i} [{string.Join(',', Enumerable.Repeat("*a" + (i - 1), 10))}]\n");
        }

        StatusException e = Assert.Throws<StatusException>(() => YamlToJson.ConvertAll(Encoding.UTF8.GetBytes(bomb.ToString())));
        Assert.Contains("excessive aliasing", e.Status.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Depth_is_bounded() =>
        Assert.Equal(400, Assert.Throws<StatusException>(() => YamlToJson.ConvertAll(Encoding.UTF8.GetBytes(new string('[', 500)))).Code);
}
