using System.Text.Json;
using Kapell.Machinery;
using Xunit;

namespace Kapell.Kube.Tests.Machinery;

public sealed class SelectorTests
{
    private static readonly Dictionary<string, string> Labels = new() { ["app"] = "web", ["tier"] = "front", ["n"] = "5" };

    [Theory]
    [InlineData("", true)]
    [InlineData("app=web", true)]
    [InlineData("app==web,tier!=back", true)]
    [InlineData("app in (web, db),!gone", true)]
    [InlineData("app notin (web)", false)]
    [InlineData("n>4,n<6", true)]
    [InlineData("n>5", false)]
    [InlineData("missing", false)]
    [InlineData("missing!=x", true)]
    [InlineData("missing notin (x)", true)]
    [InlineData(" app = web ", true)]
    [InlineData("in in (in)", false)]
    public void Labels_are_matched(string text, bool expected) => Assert.Equal(expected, LabelSelector.Parse(text).Matches(Labels));

    [Theory]
    [InlineData("x in (foo,,baz),y,z notin ()", "x in (,baz,foo),y,z notin ()")]
    [InlineData("b=1,a=2", "a=2,b=1")]
    [InlineData("!a", "!a")]
    public void Text_is_normalized(string text, string expected) => Assert.Equal(expected, LabelSelector.Parse(text).ToString());

    [Theory]
    [InlineData("a=b=c", "found '=', expected: ',' or 'end of string'")]
    [InlineData("a,", "found '', expected: identifier after ','")]
    [InlineData("=a", "found '=', expected: !, identifier, or 'end of string'")]
    [InlineData("a in b", "unable to parse requirement: found 'b' expected: '('")]
    [InlineData("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt")]
    [InlineData("a>x", "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer")]
    [InlineData("-a=b", "unable to parse requirement: <nil>: Invalid value: \"-a\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')")]
    public void Wrong_text_is_refused_in_upstreams_words(string text, string error)
    {
        Assert.False(LabelSelector.TryParse(text, out _, out string said));
        Assert.Equal(error, said);
    }

    [Fact]
    public void A_selector_object_selects_nothing_when_absent_and_everything_when_empty()
    {
        Assert.True(LabelSelector.FromJson(default).IsNothing);
        Assert.False(LabelSelector.FromJson(default).Matches(Labels));
        Assert.True(LabelSelector.FromJson(JsonDocument.Parse("{}").RootElement).IsEverything);
        string text = """{"matchLabels":{"app":"web"},"matchExpressions":[{"key":"tier","operator":"In","values":["front","back"]}]}""";
        Assert.True(LabelSelector.FromJson(JsonDocument.Parse(text).RootElement).Matches(Labels));
    }

    [Theory]
    [InlineData("metadata.name=web", "metadata.name=web")]
    [InlineData("spec.nodeName!=a,metadata.name==b", "metadata.name=b,spec.nodeName!=a")]
    [InlineData("a=x\\,y", "a=x\\,y")]
    [InlineData("a=b,,", "a=b")]
    public void Field_selectors_read_and_write(string text, string expected) => Assert.Equal(expected, FieldSelector.Parse(text).ToString());

    [Theory]
    [InlineData("abc", "invalid selector: 'abc'; can't understand 'abc'")]
    [InlineData("a=b=c", "invalid field selector: unescaped character in value: 61")]
    [InlineData("a=\\q", "invalid field selector: invalid escape sequence: \\q")]
    public void Wrong_field_selectors_are_refused(string text, string error)
    {
        Assert.False(FieldSelector.TryParse(text, out _, out string said));
        Assert.Equal(error, said);
    }
}
