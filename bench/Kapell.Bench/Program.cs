Console.WriteLine("Kapell.Bench");
