using System.Text;

namespace Kapell.Machinery;

/// <summary>The string form of label selectors, with upstream's grammar and error texts (apimachinery labels.Parser).</summary>
internal sealed class LabelSelectorParser(string text)
{
    private readonly List<(Token Token, string Text)> _items = [];
    private int _at;

    private enum Token
    {
        Error,
        End,
        Close,
        Comma,
        Not,
        DoubleEqual,
        Equal,
        Greater,
        Identifier,
        In,
        Less,
        NotEqual,
        NotIn,
        Open,
    }

    /// <summary>Null when the text is wrong; then <paramref name="error"/> says how.</summary>
    public List<LabelRequirement>? Parse(out string error)
    {
        error = "";
        Scan();
        List<LabelRequirement> requirements = [];
        while (true)
        {
            (Token token, string literal) = Look();
            if (token == Token.End)
            {
                return requirements;
            }

            if (token is not (Token.Identifier or Token.Not))
            {
                error = $"found '{literal}', expected: !, identifier, or 'end of string'";
                return null;
            }

            LabelRequirement? requirement = Requirement(out string fault);
            if (requirement is null)
            {
                error = "unable to parse requirement: " + fault;
                return null;
            }

            requirements.Add(requirement);
            (token, literal) = Take();
            switch (token)
            {
                case Token.End:
                    return requirements;
                case Token.Comma when Look() is var next && next.Token is not (Token.Identifier or Token.Not):
                    error = $"found '{next.Text}', expected: identifier after ','";
                    return null;
                case Token.Comma:
                    break;
                default:
                    error = $"found '{literal}', expected: ',' or 'end of string'";
                    return null;
            }
        }
    }

    private LabelRequirement? Requirement(out string fault)
    {
        (Token token, string key) = Take();
        bool absent = token == Token.Not;
        if (absent)
        {
            (token, key) = Take();
        }

        if (token != Token.Identifier)
        {
            fault = $"found '{key}', expected: identifier";
            return null;
        }

        IReadOnlyList<string> keyFaults = Names.IsQualifiedName(key);
        if (keyFaults.Count > 0)
        {
            fault = FieldError.Invalid(FieldPath.Root, key, string.Join("; ", keyFaults)).ToString();
            return null;
        }

        LabelOperator op;
        SortedSet<string>? values = new(StringComparer.Ordinal);
        if (absent || Look().Token is Token.End or Token.Comma)
        {
            op = absent ? LabelOperator.DoesNotExist : LabelOperator.Exists;
        }
        else
        {
            if (Operator(out fault) is not { } found)
            {
                return null;
            }

            op = found;
            values = op is LabelOperator.In or LabelOperator.NotIn ? ValueSet(out fault) : ExactValue(out fault);
            if (values is null)
            {
                return null;
            }
        }

        fault = LabelRequirement.Fault(key, op, [.. values]) ?? "";
        return fault.Length > 0 ? null : new LabelRequirement(key, op, [.. values]);
    }

    private LabelOperator? Operator(out string fault)
    {
        (Token token, string literal) = Take(keepKeywords: true);
        fault = $"found '{literal}', expected: in, notin, =, ==, !=, gt, lt";
        return token switch
        {
            Token.In => LabelOperator.In,
            Token.Equal => LabelOperator.Equal,
            Token.DoubleEqual => LabelOperator.DoubleEqual,
            Token.Greater => LabelOperator.GreaterThan,
            Token.Less => LabelOperator.LessThan,
            Token.NotIn => LabelOperator.NotIn,
            Token.NotEqual => LabelOperator.NotEqual,
            _ => null,
        };
    }

    private SortedSet<string>? ValueSet(out string fault)
    {
        fault = "";
        (Token token, string literal) = Take();
        if (token != Token.Open)
        {
            fault = $"found '{literal}' expected: '('";
            return null;
        }

        (token, literal) = Look();
        if (token == Token.Close)
        {
            Take();
            return new SortedSet<string>(StringComparer.Ordinal) { "" };
        }

        if (token is not (Token.Identifier or Token.Comma))
        {
            fault = $"found '{literal}', expected: ',', ')' or identifier";
            return null;
        }

        SortedSet<string>? set = Identifiers(out fault);
        if (set is not null && Take().Token != Token.Close)
        {
            fault = $"found '{literal}', expected: ')'";
            return null;
        }

        return set;
    }

    // An empty place between commas is the empty value.
    private SortedSet<string>? Identifiers(out string fault)
    {
        fault = "";
        SortedSet<string> set = new(StringComparer.Ordinal);
        while (true)
        {
            (Token token, string literal) = Take();
            (Token next, string nextLiteral) = Look();
            switch (token)
            {
                case Token.Identifier:
                    set.Add(literal);
                    if (next == Token.Close)
                    {
                        return set;
                    }

                    if (next != Token.Comma)
                    {
                        fault = $"found '{nextLiteral}', expected: ',' or ')'";
                        return null;
                    }

                    break;
                case Token.Comma:
                    if (set.Count == 0 || next is Token.Close or Token.Comma)
                    {
                        set.Add("");
                    }

                    if (next == Token.Close)
                    {
                        return set;
                    }

                    break;
                default:
                    fault = $"found '{literal}', expected: ',', or identifier";
                    return null;
            }
        }
    }

    private SortedSet<string>? ExactValue(out string fault)
    {
        fault = "";
        if (Look().Token is Token.End or Token.Comma)
        {
            return new SortedSet<string>(StringComparer.Ordinal) { "" };
        }

        (Token token, string literal) = Take();
        if (token == Token.Identifier)
        {
            return new SortedSet<string>(StringComparer.Ordinal) { literal };
        }

        fault = $"found '{literal}', expected: identifier";
        return null;
    }

    // "in" and "notin" are operators only where one is expected; elsewhere they are keys and values.
    private (Token Token, string Text) Look(bool keepKeywords = false)
    {
        (Token token, string literal) = _items[Math.Min(_at, _items.Count - 1)];
        return (!keepKeywords && token is Token.In or Token.NotIn && !keepKeywords ? Token.Identifier : token, literal);
    }

    private (Token Token, string Text) Take(bool keepKeywords = false)
    {
        (Token, string) item = Look(keepKeywords);
        _at++;
        return item;
    }

    private void Scan()
    {
        int pos = 0;
        while (true)
        {
            while (pos < text.Length && IsSpace(text[pos]))
            {
                pos++;
            }

            if (pos >= text.Length || text[pos] == '\0')
            {
                _items.Add((Token.End, ""));
                return;
            }

            _items.Add(IsSpecial(text[pos]) ? Special(ref pos) : Word(ref pos));
        }
    }

    private (Token, string) Word(ref int pos)
    {
        int start = pos;
        while (pos < text.Length && !IsSpecial(text[pos]) && !IsSpace(text[pos]) && text[pos] != '\0')
        {
            pos++;
        }

        string word = text[start..pos];
        return (word switch { "in" => Token.In, "notin" => Token.NotIn, _ => Token.Identifier }, word);
    }

    private (Token, string) Special(ref int pos)
    {
        (Token Token, string Text) last = (Token.Error, "");
        StringBuilder seen = new();
        while (pos < text.Length && IsSpecial(text[pos]))
        {
            seen.Append(text[pos]);
            Token token = Of(seen.ToString());
            if (token == Token.Error && last.Token != Token.Error)
            {
                break;
            }

            last = (token, seen.ToString());
            pos++;
        }

        return last.Token == Token.Error ? (Token.Error, $"error expected: keyword found '{seen}'") : last;
    }

    private static Token Of(string symbol) => symbol switch
    {
        ")" => Token.Close,
        "," => Token.Comma,
        "!" => Token.Not,
        "==" => Token.DoubleEqual,
        "=" => Token.Equal,
        ">" => Token.Greater,
        "<" => Token.Less,
        "!=" => Token.NotEqual,
        "(" => Token.Open,
        _ => Token.Error,
    };

    private static bool IsSpace(char c) => c is ' ' or '\t' or '\r' or '\n';

    private static bool IsSpecial(char c) => c is '=' or '!' or '(' or ')' or ',' or '>' or '<';
}
