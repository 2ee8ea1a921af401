using System.Globalization;
using System.Text;

namespace Kapell.Base;

/// <summary>
/// Command-line flags with Go's semantics, for upstream's flag names: <c>--name=value</c>, <c>--name value</c>, <c>-name value</c>,
/// a bool flag alone means true and takes its value only after <c>=</c>, <c>--</c> ends the flags. Repeated list flags add up.
/// Errors are Go's words, as <see cref="FlagException"/>.
/// </summary>
public sealed class FlagSet(string program, string synopsis, FlagWords words = FlagWords.Pflag)
{
    private const string ChoiceKind = "choice";

    private readonly List<Flag> _flags = [];
    private readonly Dictionary<string, Flag> _byName = new(StringComparer.Ordinal);
    private readonly HashSet<string> _named = new(StringComparer.Ordinal);
    private string _group = "";

    /// <summary>The words after the flags.</summary>
    public List<string> Arguments { get; } = [];

    /// <summary>True when <c>--help</c> or <c>-h</c> was given: print <see cref="Help"/> and leave with 0.</summary>
    public bool HelpWanted { get; private set; }

    /// <summary>Example lines printed at the end of the help.</summary>
    public List<string> Examples { get; } = [];

    /// <summary>Flags declared after this belong to the named group in <see cref="Help"/>.</summary>
    public void Group(string title) => _group = title;

    public FlagValue<string> String(string name, string value, string help) => Add(name, value, help, static s => s, "string");

    /// <summary>One of a few words.</summary>
    public FlagValue<string> Choice(string name, string value, IReadOnlyList<string> choices, string help) =>
        Add(name, value, help, s => choices.Contains(s) ? s : throw new FormatException($"invalid value \"{s}\""), ChoiceKind);

    public FlagValue<bool> Bool(string name, bool value, string help) => Add(name, value, help, ParseBool, "");

    public FlagValue<int> Int(string name, int value, string help) =>
        Add(name, value, help, s => words == FlagWords.Go ? checked((int)GoNumber.ParseSigned(s)) : int.Parse(s, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture), "int");

    public FlagValue<long> Long(string name, long value, string help) =>
        Add(name, value, help, s => words == FlagWords.Go ? GoNumber.ParseSigned(s) : long.Parse(s, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture), "int");

    public FlagValue<ulong> Unsigned(string name, ulong value, string help) => Add(name, value, help, static s => GoNumber.ParseUnsigned(s), "uint");

    public FlagValue<uint> Unsigned32(string name, uint value, string help) =>
        Add(name, value, help, static s => (uint)GoNumber.ParseUnsigned(s, uint.MaxValue), "uint32");

    public FlagValue<double> Double(string name, double value, string help) =>
        Add(name, value, help, static s => double.Parse(s, NumberStyles.Float, CultureInfo.InvariantCulture), "float");

    /// <summary>A Go duration: <c>300ms</c>, <c>1h30m</c>, <c>10s</c>.</summary>
    public FlagValue<TimeSpan> Duration(string name, TimeSpan value, string help) => Add(name, value, help, GoDuration.Parse, "duration");

    /// <summary>A comma-separated list; in pflag's programs a repeated flag adds to it, in etcd's the last one counts.</summary>
    /// <param name="name">Of the flag.</param>
    /// <param name="value">What it is when it is not set.</param>
    /// <param name="help">A sentence.</param>
    /// <param name="wrongWith">What is wrong with one of them, or null.</param>
    public FlagValue<IReadOnlyList<string>> List(string name, IReadOnlyList<string> value, string help, Func<string, string?>? wrongWith = null)
    {
        List<string> all = [];
        return Add<IReadOnlyList<string>>(name, value, help, s =>
        {
            if (words == FlagWords.Go)
            {
                all = [];
            }

            string[] named = s.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
            if (wrongWith is not null && named.Select(wrongWith).FirstOrDefault(static wrong => wrong is not null) is { } reason)
            {
                throw new FormatException(reason);
            }

            all.AddRange(named);
            return all;
        }, "strings");
    }

    /// <summary>Another name of a declared flag (<c>-w</c> for <c>--write-out</c>), not shown in the help.</summary>
    public void Alias(string alias, string name) => _byName.Add(alias, _byName[name]);

    /// <summary>Whether the flag was set, by any of its names and from any source.</summary>
    public bool WasSet(string name) => _byName.TryGetValue(name, out Flag? flag) && flag.Set;

    /// <summary>Whether it was set by just this name.</summary>
    public bool WasNamed(string name) => _named.Contains(name);

    /// <summary>All declared names, for environment and config files.</summary>
    public IEnumerable<string> Names => _byName.Keys;

    /// <summary>What it was last set to; empty: nothing.</summary>
    public string TextOf(string name) => _byName[name].Text;

    public FlagKind KindOf(string name) => _byName[name].Kind switch
    {
        "" => FlagKind.Bool,
        "string" => FlagKind.Text,
        ChoiceKind => FlagKind.Choice,
        "strings" => FlagKind.List,
        "duration" => FlagKind.Duration,
        _ => FlagKind.Number,
    };

    /// <summary>Every flag has its default again.</summary>
    public void Reset()
    {
        _named.Clear();
        foreach (Flag flag in _flags)
        {
            flag.Set = false;
            flag.PutBack();
        }
    }

    /// <summary>Sets a flag from another source (environment, config file), which is named when the text is no value of it.</summary>
    public void SetFromText(string name, string text, string? source = null) => Apply(_byName[name], name, text, source);

    public void Parse(IReadOnlyList<string> args)
    {
        for (int i = 0; i < args.Count; i++)
        {
            string arg = args[i];
            if (arg == "--")
            {
                Arguments.AddRange(args.Skip(i + 1));
                return;
            }

            if (arg.Length < 2 || arg[0] != '-')
            {
                Arguments.Add(arg);
                continue;
            }

            string body = arg.StartsWith("--", StringComparison.Ordinal) ? arg[2..] : arg[1..];
            int equals = body.IndexOf('=', StringComparison.Ordinal);
            string name = equals < 0 ? body : body[..equals];
            if (name is "help" or "h")
            {
                HelpWanted = true;
                return;
            }

            if (!_byName.TryGetValue(name, out Flag? flag))
            {
                throw new FlagException(words == FlagWords.Go ? $"flag provided but not defined: -{name}" : $"unknown flag: --{name}");
            }

            string? text = equals < 0 ? null : body[(equals + 1)..];
            if (text is null && flag.IsBool)
            {
                text = "true";
            }

            if (text is null)
            {
                if (++i >= args.Count)
                {
                    throw new FlagException($"flag needs an argument: {(words == FlagWords.Go ? "-" : "--")}{name}");
                }

                text = args[i];
            }

            Apply(flag, name, text);
        }
    }

    public string Help()
    {
        StringBuilder text = new();
        text.Append(synopsis.TrimEnd()).Append("\n\nUsage:\n  ").Append(program).Append(" [flags]\n");
        foreach (IGrouping<string, Flag> group in _flags.GroupBy(f => f.Group))
        {
            text.Append('\n').Append(group.Key.Length == 0 ? "Flags" : group.Key).Append(":\n");
            foreach (Flag flag in group)
            {
                text.Append("  --").Append(flag.Name);
                text.Append(flag.Kind switch { "" => "", ChoiceKind => " string", { } kind => " " + kind }).Append('\n');
                text.Append("        ").Append(flag.Help);
                text.Append(flag.DefaultText.Length == 0 ? "" : $" (default {flag.DefaultText})").Append('\n');
            }
        }

        if (Examples.Count > 0)
        {
            text.Append("\nExamples:\n");
            Examples.ForEach(e => text.Append("  ").Append(e).Append('\n'));
        }

        return text.ToString();
    }

    private void Apply(Flag flag, string name, string text, string? source = null)
    {
        try
        {
            flag.Assign(text);
            flag.Set = true;
            flag.Text = text;
            _named.Add(name);
        }
        catch (Exception e) when (e is FormatException or OverflowException or ArgumentException)
        {
            // Go's package flag hides what the parsers of its own kinds say.
            string reason = !flag.IsBool && flag.Kind is not ("int" or "uint" or "float" or "duration") ? e.Message
                : e is OverflowException && flag.Kind is not "duration" ? "value out of range"
                : "parse error";
            throw new FlagException(words == FlagWords.Go
                ? flag.IsBool && source is null ? $"invalid boolean value \"{text}\" for -{name}: {reason}"
                    : $"invalid value \"{text}\" for {source ?? "flag -" + name}: {reason}"
                : $"invalid argument \"{text}\" for \"--{name}\" flag: {e.Message}");
        }
    }

    private static bool ParseBool(string text) => text switch
    {
        "1" or "t" or "T" or "true" or "TRUE" or "True" => true,
        "0" or "f" or "F" or "false" or "FALSE" or "False" => false,
        _ => throw new FormatException($"strconv.ParseBool: parsing \"{text}\": invalid syntax"),
    };

    private FlagValue<T> Add<T>(string name, T value, string help, Func<string, T> parse, string kind)
    {
        FlagValue<T> holder = new(value);
        string shown = value switch
        {
            null => "",
            bool b => b ? "true" : "false",
            TimeSpan t => GoDuration.Format(t),
            IReadOnlyList<string> l => string.Join(',', l),
            IFormattable f => f.ToString(null, CultureInfo.InvariantCulture),
            _ => value.ToString() ?? "",
        };
        Flag flag = new(
            name, _group, help, kind, shown, typeof(T) == typeof(bool), text => holder.Value = parse(text), () => holder.Value = value);
        _flags.Add(flag);
        _byName.Add(name, flag);
        return holder;
    }

    private sealed record Flag(string Name, string Group, string Help, string Kind, string DefaultText, bool IsBool, Action<string> Assign, Action PutBack)
    {
        public bool Set { get; set; }

        public string Text { get; set; } = "";
    }
}

/// <summary>What a flag takes.</summary>
public enum FlagKind
{
    Text,
    Bool,
    Number,
    Duration,
    List,
    Choice,
}

/// <summary>Whose words errors are said in: the programs of Kubernetes use one library of Go, etcd another.</summary>
public enum FlagWords
{
    Pflag,
    Go,
}

/// <summary>The value of one flag, read after <see cref="FlagSet.Parse"/>.</summary>
public sealed class FlagValue<T>(T value)
{
    public T Value { get; internal set; } = value;
}

/// <summary>The command line is wrong; the message says how, in Go's words.</summary>
public sealed class FlagException(string message) : Exception(message);
