using System.Text;

namespace Kapell.Kubelet.Runtime;

/// <summary><c>$(NAME)</c> in commands and values: unknown names stay as they stand, <c>$$</c> is a dollar. // Kubernetes: third_party/forked/golang/expansion</summary>
internal static class Expansion
{
    public static string Expand(string text, IReadOnlyDictionary<string, string> variables)
    {
        if (!text.Contains('$', StringComparison.Ordinal))
        {
            return text;
        }

        StringBuilder result = new(text.Length);
        for (int i = 0; i < text.Length; i++)
        {
            if (text[i] != '$' || i + 1 >= text.Length)
            {
                result.Append(text[i]);
                continue;
            }

            char next = text[i + 1];
            int close = next == '(' ? text.IndexOf(')', i + 2) : -1;
            if (next == '$')
            {
                result.Append('$');
                i++;
            }
            else if (close > 0)
            {
                string name = text[(i + 2)..close];
                result.Append(variables.TryGetValue(name, out string? value) ? value : $"$({name})");
                i = close;
            }
            else
            {
                result.Append('$');
            }
        }

        return result.ToString();
    }
}
