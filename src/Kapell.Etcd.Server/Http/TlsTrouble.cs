using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;
using Microsoft.Extensions.Logging;

namespace Kapell.Etcd.Server.Http;

/// <summary>Why a TLS handshake failed. The web framework only logs it, so that is where it is taken from.</summary>
internal static partial class TlsTrouble
{
    public const string FrameworkCategory = "Microsoft.AspNetCore.Server.Kestrel.Https.Internal.HttpsConnectionMiddleware";
    private static readonly AsyncLocal<StrongBox<string?>?> Watched = new();

    /// <summary>What failed in the course of <paramref name="work"/>, or null.</summary>
    public static async Task<string?> WatchAsync(Func<Task> work)
    {
        StrongBox<string?> box = new();
        Watched.Value = box;
        await work();
        return box.Value;
    }

    /// <summary>The innermost reason; an alert of the other side in the words of Go, which operators search for.</summary>
    public static string Describe(Exception failure)
    {
        string message = failure.Message;
        for (Exception? e = failure; e is not null; e = e.InnerException)
        {
            message = e.Message;
            if (Alert().Match(message) is { Success: true } alert)
            {
                return "remote error: tls: " + alert.Groups[1].Value;
            }
        }

        return message;
    }

    /// <summary>Takes the framework's reasons for <see cref="WatchAsync"/>.</summary>
    public static ILogger Logger { get; } = new Catcher();

    [GeneratedRegex(@"\balert ([a-z ]+)")]
    private static partial Regex Alert();

    private sealed class Catcher : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => Watched.Value is not null;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            if (Watched.Value is { } box && exception is not null)
            {
                box.Value = Describe(exception);
            }
        }
    }
}
