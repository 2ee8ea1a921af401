using System.Text.Json;
using Kapell.Etcd.Protocol;

namespace Kapell.Etcd.Server.Takeover;

/// <summary>What etcd says of a member in JSON, whole or in part. etcd: api/membership/member.go, cluster.go ConfigChangeContext</summary>
internal static class MemberJson
{
    /// <summary>Adds what the text says; true when it is a promotion of a learner.</summary>
    /// <exception cref="JsonException">It is no JSON.</exception>
    /// <exception cref="FormatException">It is JSON of another shape.</exception>
    public static bool Read(string text, Member member)
    {
        using JsonDocument document = JsonDocument.Parse(text);
        if (document.RootElement.ValueKind != JsonValueKind.Object)
        {
            throw new FormatException("what is said of a member is no object");
        }

        bool promotes = false;
        foreach (JsonProperty property in document.RootElement.EnumerateObject())
        {
            switch (property.Name, property.Value.ValueKind)
            {
                case ("id", JsonValueKind.Number):
                    member.ID = property.Value.GetUInt64();
                    break;
                case ("name", JsonValueKind.String):
                    member.Name = property.Value.GetString();
                    break;
                case ("peerURLs", JsonValueKind.Array):
                    member.PeerURLs.Clear();
                    member.PeerURLs.AddRange(Strings(property.Value));
                    break;
                case ("clientURLs", JsonValueKind.Array):
                    member.ClientURLs.Clear();
                    member.ClientURLs.AddRange(Strings(property.Value));
                    break;
                case ("isLearner", JsonValueKind.True):
                    member.IsLearner = true;
                    break;
                case ("isPromote", JsonValueKind.True):
                    promotes = true;
                    break;
            }
        }

        return promotes;
    }

    private static IEnumerable<string> Strings(JsonElement array) => array.EnumerateArray().Select(static e =>
        e.ValueKind == JsonValueKind.String ? e.GetString()! : throw new FormatException("an address of a member is no text"));
}
