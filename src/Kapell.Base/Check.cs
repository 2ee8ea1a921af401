using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;

namespace Kapell.Base;

/// <summary>Assertions that are never compiled out: a broken invariant stops the process that owns it.</summary>
public static class Check
{
    /// <summary>Throws <see cref="InvariantBrokenException"/> when <paramref name="condition"/> does not hold.</summary>
    public static void That(
        [DoesNotReturnIf(false)] bool condition,
        [CallerArgumentExpression(nameof(condition))] string? expression = null,
        [CallerFilePath] string? file = null,
        [CallerLineNumber] int line = 0)
    {
        if (!condition)
        {
            Fail(expression, file, line);
        }
    }

    /// <summary>As <see cref="That"/>, for branches that must not be reached.</summary>
    [DoesNotReturn]
    public static void Unreachable(string why, [CallerFilePath] string? file = null, [CallerLineNumber] int line = 0) =>
        Fail(why, file, line);

    [DoesNotReturn]
    private static void Fail(string? expression, string? file, int line) =>
        throw new InvariantBrokenException($"invariant broken: {expression} ({Path.GetFileName(file)}:{line})");
}

/// <summary>A programmer's error was found at run time. Nobody catches it but the top of the process, which stops.</summary>
public sealed class InvariantBrokenException(string message) : Exception(message);
