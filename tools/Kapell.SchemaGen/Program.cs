using Kapell.SchemaGen;

// usage: Kapell.SchemaGen FACTS OUTPUT; writes the schema of the served kinds from the models of the KubernetesClient package.
if (args.Length != 2)
{
    Console.Error.WriteLine("usage: Kapell.SchemaGen FACTS OUTPUT");
    return 2;
}

Facts facts = Facts.Read(File.ReadAllLines(args[0]));
Descriptions descriptions = Descriptions.Load();
byte[] schema = new SchemaWriter(facts, descriptions).Write();
Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(args[1]))!);
File.WriteAllBytes(args[1], schema);
return 0;
