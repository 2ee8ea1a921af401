using Kapell.Machinery.Schemas;

namespace Kapell.ApiServer.OpenApi;

/// <summary>The schema embedded in the program: the build writes it from the models (tools/Kapell.SchemaGen).</summary>
public static class BuiltinSchemas
{
    private static readonly Lazy<SchemaSet> Loaded = new(Load);

    public static SchemaSet Set => Loaded.Value;

    private static SchemaSet Load()
    {
        using Stream stream = typeof(BuiltinSchemas).Assembly.GetManifestResourceStream("Kapell.Schema.json")
            ?? throw new InvalidOperationException("the schema is not embedded in this build");
        byte[] bytes = new byte[stream.Length];
        stream.ReadExactly(bytes);
        return SchemaSet.Read(bytes);
    }
}
