using System.Buffers;
using System.Net.Security;
using System.Net.Sockets;

namespace Kapell.ApiServer.Subresources;

/// <summary>Carries bytes both ways between two connections until both ends have said all they had to say.</summary>
internal static class ByteTunnel
{
    private const int BufferBytes = 32 * 1024;

    /// <summary>How long the back end may still talk after the client has gone quiet.</summary>
    private static readonly TimeSpan LingerMax = TimeSpan.FromSeconds(30);

    public static async Task RelayAsync(Stream front, Stream back, TimeProvider time, CancellationToken cancel)
    {
        using CancellationTokenSource stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        Task up = CopyAsync(front, back, stop.Token);
        Task down = CopyAsync(back, front, stop.Token);
        if (await Task.WhenAny(up, down) == up && !down.IsCompleted)
        {
            // The client has sent its last byte: say so to the back end, and wait for the rest of its answer.
            if (up.IsCompletedSuccessfully)
            {
                await ShutdownAsync(back);
                await Task.WhenAny(down, Task.Delay(LingerMax, time, cancel));
            }
        }

        await stop.CancelAsync();
        await QuietAsync(up);
        await QuietAsync(down);
    }

    private static async Task CopyAsync(Stream from, Stream to, CancellationToken cancel)
    {
        byte[] buffer = ArrayPool<byte>.Shared.Rent(BufferBytes);
        try
        {
            int length;
            while ((length = await from.ReadAsync(buffer, cancel)) > 0)
            {
                await to.WriteAsync(buffer.AsMemory(0, length), cancel);
                await to.FlushAsync(cancel);
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private static async Task ShutdownAsync(Stream back)
    {
        try
        {
            switch (back)
            {
                case SslStream tls:
                    await tls.ShutdownAsync();
                    break;
                case NetworkStream plain:
                    plain.Socket.Shutdown(SocketShutdown.Send);
                    break;
            }
        }
        catch (Exception e) when (e is IOException or SocketException or ObjectDisposedException or InvalidOperationException)
        {
            // The back end was faster and is gone: nothing left to tell it.
        }
    }

    /// <summary>A broken connection is the usual end of a tunnel, not a fault.</summary>
    private static async Task QuietAsync(Task copy)
    {
        try
        {
            await copy;
        }
        catch (Exception e) when (e is IOException or SocketException or OperationCanceledException or ObjectDisposedException or InvalidOperationException
            or Microsoft.AspNetCore.Connections.ConnectionAbortedException)
        {
        }
    }
}
