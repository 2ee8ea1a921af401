using Kapell.SchemaGen;

// usage: Kapell.SchemaGen FACTS WIRE OUTPUT; writes the schema of the served kinds from the models of the KubernetesClient package.
if (args.Length != 3)
{
    Console.Error.WriteLine("usage: Kapell.SchemaGen FACTS WIRE OUTPUT");
    return 2;
}

Facts facts = Facts.Read(File.ReadAllLines(args[0]));
WireFacts wire = WireFacts.Read(File.ReadAllLines(args[1]));
Descriptions descriptions = Descriptions.Load();
byte[] schema = new SchemaWriter(facts, wire, descriptions).Write();
Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(args[2]))!);
File.WriteAllBytes(args[2], schema);
return 0;
