using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace Kapell.Etcd.Server.Takeover;

/// <summary>
/// Up to 3.4 a password stands in the log as it was typed, and each member hashed it with a salt of its own when it applied it. The members
/// that are taken over must hold the same, so here the salt follows from the cluster and the place in the log: another for each password, the
/// same at each member. A salt is no secret.
/// </summary>
internal static class PasswordHash
{
    private const int Cost = 10;
    private const int SaltBytes = 16;
    private const int SaltLetters = 22;
    private const string Base64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    private const string BcryptBase64 = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

    /// <summary>In base64, as requests carry it.</summary>
    public static string Of(string password, ulong cluster, ulong index)
    {
        byte[] place = new byte[16];
        BinaryPrimitives.WriteUInt64BigEndian(place, cluster);
        BinaryPrimitives.WriteUInt64BigEndian(place.AsSpan(8), index);
        string salt = Convert.ToBase64String(SHA256.HashData(place).AsSpan(0, SaltBytes))[..SaltLetters];
        string letters = string.Concat(salt.Select(static c => BcryptBase64[Base64.IndexOf(c, StringComparison.Ordinal)]));
        string hash = BCrypt.Net.BCrypt.HashPassword(password, $"$2a${Cost}${letters}");
        return Convert.ToBase64String(Encoding.ASCII.GetBytes(hash));
    }
}
