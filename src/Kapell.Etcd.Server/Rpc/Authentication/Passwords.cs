using System.Text;
using Grpc.Core;

namespace Kapell.Etcd.Server.Rpc.Authentication;

/// <summary>Hashes of passwords as etcd has them: bcrypt, in a thread of the pool for they cost tens of milliseconds.</summary>
internal static class Passwords
{
    // golang.org/x/crypto/bcrypt refuses longer ones rather than cut them.
    private const int BytesMax = 72;

    public static Task<string> HashAsync(string password, int cost, CancellationToken cancellation)
    {
        if (Encoding.UTF8.GetByteCount(password) > BytesMax)
        {
            throw new RpcException(new Status(StatusCode.Unknown, "bcrypt: password length exceeds 72 bytes"));
        }

        return Task.Run(
            () => Convert.ToBase64String(Encoding.ASCII.GetBytes(BCrypt.Net.BCrypt.HashPassword(password, cost))), cancellation);
    }

    /// <summary>False also when the hash is none of bcrypt: an imported user without one comes in by no password.</summary>
    public static Task<bool> MatchesAsync(string password, byte[] hash, CancellationToken cancellation) => Task.Run(
        () =>
        {
            try
            {
                return hash.Length > 0 && BCrypt.Net.BCrypt.Verify(password, Encoding.ASCII.GetString(hash));
            }
            catch (Exception e) when (e is BCrypt.Net.SaltParseException or ArgumentException or FormatException)
            {
                return false;
            }
        },
        cancellation);
}
