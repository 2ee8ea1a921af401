using System.Text.RegularExpressions;
using Xunit;

namespace Kapell.Tidy;

public sealed partial class SourceTests
{
    private const int LinesMax = 800;
    private const int ColumnsMax = 240; // may only shrink: today's longest are rows of bootstrap policy

    public static TheoryData<string> Folders => ["src", "tests", "bench", "tools"];

    [Theory]
    [MemberData(nameof(Folders))]
    public void No_file_is_longer_than_the_hard_stop(string folder) =>
        Assert.Empty(Repository.Files("*.cs", folder).Where(f => !f.EndsWith(".g.cs", StringComparison.Ordinal) && File.ReadLines(f).Count() > LinesMax).Select(Repository.Relative));

    [Theory]
    [MemberData(nameof(Folders))]
    public void Namespaces_are_file_scoped_and_follow_the_folder(string folder)
    {
        List<string> wrong = [];
        foreach (string file in Repository.Files("*.cs", folder))
        {
            string? line = File.ReadLines(file).FirstOrDefault(l => l.StartsWith("namespace ", StringComparison.Ordinal));
            if (line is not null && !line.TrimEnd().EndsWith(';'))
            {
                wrong.Add(Repository.Relative(file));
            }
        }

        Assert.Empty(wrong);
    }

    [Fact]
    public void Each_event_of_the_log_has_a_number_of_its_own_in_its_room()
    {
        IEnumerable<string> numbers = Repository.Files("*.cs", "src").SelectMany(
            static f => EventNumber().Matches(File.ReadAllText(f)).Select(m => $"{Repository.Relative(f).Split('/')[1]} {m.Groups[1].Value}"));
        Assert.Empty(numbers.GroupBy(static n => n).Where(static g => g.Count() > 1).Select(static g => g.Key));
    }

    [Fact]
    public void Nothing_is_left_to_do_or_swallowed()
    {
        List<string> wrong = [];
        foreach (string file in Repository.Files("*.cs", "src"))
        {
            string text = File.ReadAllText(file);
            if (Unfinished().IsMatch(text) || EmptyCatchAll().IsMatch(text))
            {
                wrong.Add(Repository.Relative(file));
            }
        }

        Assert.Empty(wrong);
    }

    [Fact]
    public void No_tests_sleep()
    {
        IEnumerable<string> wrong = Repository.Files("*.cs", "tests/Kapell.Etcd.Tests", "tests/Kapell.Kube.Tests")
            .Where(f => Sleeping().IsMatch(File.ReadAllText(f))).Select(Repository.Relative);
        Assert.Empty(wrong);
    }

    [Fact]
    public void No_line_is_unreadably_long() => Assert.Empty(
        Repository.Files("*.cs", "src").Where(f => !f.EndsWith(".g.cs", StringComparison.Ordinal))
            .SelectMany(f => File.ReadLines(f).Select((line, i) => (line, at: $"{Repository.Relative(f)}:{i + 1}")))
            .Where(l => l.line.Length > ColumnsMax).Select(l => l.at));

    [Fact]
    public void The_front_door_exists()
    {
        foreach (string file in new[] { "README.md", "CHANGELOG.md", "LICENSE", "docs/ARCHITECTURE.md", "kapell", "test", ".ci/run" })
        {
            Assert.True(File.Exists(Path.Combine(Repository.Root, file)), file);
        }
    }

    [Fact]
    public void Links_between_the_documents_lead_somewhere()
    {
        List<string> broken = [];
        foreach (string file in Repository.Files("*.md", "docs").Append(Path.Combine(Repository.Root, "README.md")))
        {
            foreach (Match link in Link().Matches(File.ReadAllText(file)))
            {
                string target = link.Groups[1].Value.Split('#')[0];
                if (target.Length > 0 && !target.Contains("://", StringComparison.Ordinal) && !Path.Exists(Path.Combine(Path.GetDirectoryName(file)!, target)))
                {
                    broken.Add($"{Repository.Relative(file)} -> {target}");
                }
            }
        }

        Assert.Empty(broken);
    }

    [GeneratedRegex(@"EventId = (\d+)")]
    private static partial Regex EventNumber();

    [GeneratedRegex(@"\b(TODO|FIXME|XXX|HACK)\b|NotImplementedException")]
    private static partial Regex Unfinished();

    [GeneratedRegex(@"catch(\s*\(Exception\s*\w*\))?\s*\{\s*\}")]
    private static partial Regex EmptyCatchAll();

    [GeneratedRegex(@"Thread\.Sleep|Task\.Delay\((TimeSpan\.From\w+\([^)]*\)|\d+)\)")]
    private static partial Regex Sleeping();

    [GeneratedRegex(@"\]\(([^)\s]+)\)")]
    private static partial Regex Link();
}
