Console.WriteLine("Kapell.SchemaGen");
