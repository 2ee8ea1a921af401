using System.Buffers;

namespace Kapell.Etcd.Server.Http.Gateway;

/// <summary>
/// Says of bytes as they come whether a JSON value may end among them, each byte looked at once: to parse all that is there again with each piece
/// would take the square of its length. Only a hint: it knows strings and brackets, not the grammar.
/// </summary>
internal struct JsonEnds
{
    // So little may be parsed again each time.
    private const int ShortBytes = 16 << 10;

    private long _looked;
    private long _parsed;
    private int _depth;
    private bool _inString;
    private bool _isEscaped;

    /// <summary>Whether to parse what is there: a value may have ended, or what came is more than twice what was parsed last.</summary>
    /// <param name="all">From the same place each time, until <see cref="Taken"/>.</param>
    public bool MayEnd(in ReadOnlySequence<byte> all)
    {
        bool mayEnd = HasEnd(all.Slice(_looked)) || all.Length <= ShortBytes || all.Length >= 2 * _parsed;
        _parsed = mayEnd ? all.Length : _parsed;
        return mayEnd;
    }

    /// <summary>A value of so many bytes from the beginning is gone.</summary>
    public void Taken(long bytes) => this = new JsonEnds { _looked = Math.Max(0, _looked - bytes) };

    // What lies behind an end is looked at when the value before it is gone.
    private bool HasEnd(in ReadOnlySequence<byte> fresh)
    {
        foreach (ReadOnlyMemory<byte> piece in fresh)
        {
            foreach (byte next in piece.Span)
            {
                _looked++;
                if (Look(next))
                {
                    return true;
                }
            }
        }

        return false;
    }

    private bool Look(byte next)
    {
        if (_inString)
        {
            _inString = _isEscaped || next != '"';
            _isEscaped = !_isEscaped && next == '\\';
            return !_inString && _depth <= 0;
        }

        switch (next)
        {
            case (byte)'"':
                _inString = true;
                return false;
            case (byte)'{' or (byte)'[':
                _depth++;
                return false;
            case (byte)'}' or (byte)']':
                return --_depth <= 0;
            default:
                return false;
        }
    }
}
