namespace Kapell.Raft;

/// <summary>The number of a member of the cluster; never zero, which means "nobody".</summary>
public readonly record struct MemberId(ulong Value) : IComparable<MemberId>
{
    public static MemberId None => default;

    public bool IsNone => Value == 0;

    public int CompareTo(MemberId other) => Value.CompareTo(other.Value);

    public static bool operator <(MemberId left, MemberId right) => left.Value < right.Value;

    public static bool operator >(MemberId left, MemberId right) => left.Value > right.Value;

    public static bool operator <=(MemberId left, MemberId right) => left.Value <= right.Value;

    public static bool operator >=(MemberId left, MemberId right) => left.Value >= right.Value;

    /// <summary>As etcd prints members: hexadecimal without leading zeros.</summary>
    public override string ToString() => Value.ToString("x");
}

/// <summary>A term of office (Raft §5.1): at most one leader is elected in it.</summary>
public readonly record struct Term(ulong Value) : IComparable<Term>
{
    public static Term Zero => default;

    public Term Next() => new(Value + 1);

    public int CompareTo(Term other) => Value.CompareTo(other.Value);

    public static bool operator <(Term left, Term right) => left.Value < right.Value;

    public static bool operator >(Term left, Term right) => left.Value > right.Value;

    public static bool operator <=(Term left, Term right) => left.Value <= right.Value;

    public static bool operator >=(Term left, Term right) => left.Value >= right.Value;

    public override string ToString() => Value.ToString();
}

/// <summary>The place of an entry in the log; the first entry has 1, zero is the place before it.</summary>
public readonly record struct LogIndex(ulong Value) : IComparable<LogIndex>
{
    public static LogIndex Zero => default;

    public LogIndex Next() => new(Value + 1);

    public LogIndex Previous() => new(Value - 1);

    public int CompareTo(LogIndex other) => Value.CompareTo(other.Value);

    public static LogIndex Min(LogIndex left, LogIndex right) => left.Value < right.Value ? left : right;

    public static LogIndex Max(LogIndex left, LogIndex right) => left.Value > right.Value ? left : right;

    public static LogIndex operator +(LogIndex left, ulong count) => new(left.Value + count);

    public static ulong operator -(LogIndex left, LogIndex right) => left.Value - right.Value;

    public static bool operator <(LogIndex left, LogIndex right) => left.Value < right.Value;

    public static bool operator >(LogIndex left, LogIndex right) => left.Value > right.Value;

    public static bool operator <=(LogIndex left, LogIndex right) => left.Value <= right.Value;

    public static bool operator >=(LogIndex left, LogIndex right) => left.Value >= right.Value;

    public override string ToString() => Value.ToString();
}

/// <summary>Term and index of one entry: enough to identify it in all logs (Raft §5.3, log matching).</summary>
public readonly record struct LogPosition(Term Term, LogIndex Index)
{
    /// <summary>Whether a log ending here is at least as complete as one ending at <paramref name="other"/> (Raft §5.4.1).</summary>
    public bool IsUpToDateWith(LogPosition other) =>
        Term > other.Term || (Term == other.Term && Index >= other.Index);
}
