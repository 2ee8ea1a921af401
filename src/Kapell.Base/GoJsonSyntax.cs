using System.Text;

namespace Kapell.Base;

/// <summary>
/// What Go's scanner says about a text that is not JSON (encoding/json scanner.go). Only asked after our own reader has refused a
/// text, so that clients see the words they know.
/// </summary>
public sealed class GoJsonSyntax
{
    /// <summary>What is there is the beginning of a value.</summary>
    public const string EndOfInput = "unexpected end of JSON input";
    private const string BeginValue = "looking for beginning of value";
    private const string BeginKey = "looking for beginning of object key string";
    private readonly byte[] _text;
    private int _at;

    private GoJsonSyntax(ReadOnlySpan<byte> text) => _text = text.ToArray();

    /// <summary>The fault of the first value in the text, whatever follows it, or null when Go would find none.</summary>
    public static string? FaultOfFirst(ReadOnlySpan<byte> text) => new GoJsonSyntax(text).Document();

    /// <summary>The fault, or null when Go would find none.</summary>
    public static string? FaultOf(ReadOnlySpan<byte> text)
    {
        GoJsonSyntax scanner = new(text);
        if (scanner.Document() is { } fault)
        {
            return fault;
        }

        scanner.Spaces();
        return scanner._at < text.Length ? scanner.Unexpected("after top-level value") : null;
    }

    /// <summary>One value with all that is in it; the open brackets stand on a stack of our own, however deep they are.</summary>
    private string? Document()
    {
        Stack<bool> open = [];
        while (true)
        {
            Spaces();
            if (Begin(open, out bool complete) is { } fault)
            {
                return fault;
            }

            while (complete)
            {
                if (open.Count == 0)
                {
                    return null;
                }

                if (AfterValue(open, ref complete) is { } after)
                {
                    return after;
                }
            }
        }
    }

    /// <summary>A value's beginning: scalars are read whole, brackets are opened.</summary>
    private string? Begin(Stack<bool> open, out bool complete)
    {
        complete = true;
        switch (Peek())
        {
            case -1:
                return EndOfInput;
            case '{':
                _at++;
                Spaces();
                if (Peek() == '}')
                {
                    _at++;
                    return null;
                }

                open.Push(true);
                complete = false;
                return Key();
            case '[':
                _at++;
                Spaces();
                if (Peek() == ']')
                {
                    _at++;
                    return null;
                }

                open.Push(false);
                complete = false;
                return null;
            case '"':
                return Text();
            case 't':
                return Literal("true");
            case 'f':
                return Literal("false");
            case 'n':
                return Literal("null");
            case '-' or (>= '0' and <= '9'):
                return Number();
            default:
                return Unexpected(BeginValue);
        }
    }

    private string? AfterValue(Stack<bool> open, ref bool complete)
    {
        Spaces();
        bool inObject = open.Peek();
        int c = Peek();
        if (c == ',')
        {
            _at++;
            complete = false;
            Spaces();
            return inObject ? Key() : null;
        }

        if (c == (inObject ? '}' : ']'))
        {
            _at++;
            open.Pop();
            return null;
        }

        return Unexpected(inObject ? "after object key:value pair" : "after array element");
    }

    private string? Key()
    {
        if (Peek() != '"')
        {
            return Unexpected(BeginKey);
        }

        if (Text() is { } fault)
        {
            return fault;
        }

        Spaces();
        if (Peek() != ':')
        {
            return Unexpected("after object key");
        }

        _at++;
        return null;
    }

    private string? Text()
    {
        for (_at++; ; _at++)
        {
            switch (Peek())
            {
                case -1:
                    return EndOfInput;
                case '"':
                    _at++;
                    return null;
                case '\\':
                    _at++;
                    if (Escape() is { } fault)
                    {
                        return fault;
                    }

                    break;
                case < 0x20:
                    return Unexpected("in string literal");
                default:
                    break;
            }
        }
    }

    private string? Escape()
    {
        if (Peek() is 'b' or 'f' or 'n' or 'r' or 't' or '\\' or '/' or '"')
        {
            return null;
        }

        if (Peek() != 'u')
        {
            return Unexpected("in string escape code");
        }

        for (int i = 0; i < 4; i++)
        {
            _at++;
            if (Peek() < 0 || !char.IsAsciiHexDigit((char)Peek()))
            {
                return Unexpected("in \\u hexadecimal character escape");
            }
        }

        return null;
    }

    private string? Literal(string word)
    {
        for (int i = 1; i < word.Length; i++)
        {
            _at++;
            if (Peek() != word[i])
            {
                return Unexpected($"in literal {word} (expecting '{word[i]}')");
            }
        }

        _at++;
        return null;
    }

    private string? Number()
    {
        if (Peek() == '-')
        {
            _at++;
            if (!IsDigit())
            {
                return Unexpected("in numeric literal");
            }
        }

        bool zero = Peek() == '0';
        _at++;
        if (!zero)
        {
            Digits();
        }

        if (Peek() == '.')
        {
            _at++;
            if (!IsDigit())
            {
                return Unexpected("after decimal point in numeric literal");
            }

            Digits();
        }

        if (Peek() is 'e' or 'E')
        {
            _at++;
            _at += Peek() is '+' or '-' ? 1 : 0;
            if (!IsDigit())
            {
                return Unexpected("in exponent of numeric literal");
            }

            Digits();
        }

        return null;
    }

    private void Digits()
    {
        while (IsDigit())
        {
            _at++;
        }
    }

    private bool IsDigit() => Peek() is >= '0' and <= '9';

    private void Spaces()
    {
        while (Peek() is ' ' or '\t' or '\r' or '\n')
        {
            _at++;
        }
    }

    private int Peek() => _at < _text.Length ? _text[_at] : -1;

    private string Unexpected(string where)
    {
        if (_at >= _text.Length)
        {
            return EndOfInput;
        }

        char c = (char)_text[_at];
        string shown = c switch
        {
            '\'' => "\\'", '"' => "\"", '\\' => "\\\\", '\n' => "\\n", '\r' => "\\r", '\t' => "\\t",
            < ' ' or '\x7f' => "\\x" + ((int)c).ToString("x2", System.Globalization.CultureInfo.InvariantCulture),
            _ => c.ToString(),
        };
        return new StringBuilder("invalid character '").Append(shown).Append("' ").Append(where).ToString();
    }
}
