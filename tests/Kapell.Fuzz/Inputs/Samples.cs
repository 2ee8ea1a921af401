using Google.Protobuf;
using Google.Protobuf.Reflection;
using Kapell.Base;
using Kapell.Etcd.Protocol;

namespace Kapell.Fuzz.Inputs;

/// <summary>Right messages of every kind of the API.</summary>
internal static class Samples
{
    public static FileDescriptor[] ApiFiles { get; } =
    [
        KvReflection.Descriptor, WatchReflection.Descriptor, LeaseReflection.Descriptor, ClusterReflection.Descriptor,
        MaintenanceReflection.Descriptor, AuthReflection.Descriptor, Etcd.Protocol.Locks.V3LockReflection.Descriptor,
        Etcd.Protocol.Elections.V3ElectionReflection.Descriptor,
    ];

    public static IEnumerable<MethodDescriptor> Methods => ApiFiles.SelectMany(static f => f.Services).SelectMany(static s => s.Methods);

    public static string PathOf(MethodDescriptor method) => $"/{method.Service.FullName}/{method.Name}";

    /// <summary>All fields hold something likely; of a oneof, one does.</summary>
    public static IMessage Fill(MessageDescriptor type, Prng prng, int depth = 0)
    {
        IMessage message = type.Parser.ParseFrom(ByteString.Empty);
        HashSet<string> chosen = [.. type.Oneofs.Select(o => o.Fields[prng.NextInt(0, o.Fields.Count)].Name)];
        foreach (FieldDescriptor field in type.Fields.InFieldNumberOrder())
        {
            bool skip = (field.ContainingOneof is not null && !chosen.Contains(field.Name)) || (depth > 0 && prng.Chance(0.4));
            if (skip || field.IsMap || (depth > 3 && field.FieldType == FieldType.Message))
            {
                continue;
            }

            if (field.IsRepeated)
            {
                System.Collections.IList list = (System.Collections.IList)field.Accessor.GetValue(message);
                for (int i = prng.NextInt(1, 4); i > 0; i--)
                {
                    list.Add(One(field, prng, depth));
                }
            }
            else
            {
                field.Accessor.SetValue(message, One(field, prng, depth));
            }
        }

        return message;
    }

    private static object One(FieldDescriptor field, Prng prng, int depth) => field.FieldType switch
    {
        FieldType.Bytes => ByteString.CopyFromUtf8(prng.Chance(0.2) ? "\0" : "k" + prng.NextInt(0, 5)),
        FieldType.String => "name" + prng.NextInt(0, 3),
        FieldType.Bool => prng.Chance(0.5),
        FieldType.Enum => prng.NextInt(0, field.EnumType.Values.Count),
        FieldType.Message => Fill(field.MessageType, prng, depth + 1),
        FieldType.Int32 or FieldType.SInt32 => prng.NextInt(0, 4),
        FieldType.UInt32 or FieldType.Fixed32 => (uint)prng.NextInt(0, 4),
        FieldType.UInt64 or FieldType.Fixed64 => (ulong)prng.NextInt(0, 9),
        FieldType.Double => prng.NextDouble(),
        _ => (long)prng.NextInt(0, 20),
    };
}
