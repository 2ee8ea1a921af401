namespace Kapell.Conformance.Kube;

/// <summary>Bodies of pods that several tests need.</summary>
internal static class Pods
{
    public static string Body(string name, string node = "", string labels = "{}", string metadata = "") => $$$"""
        {"apiVersion":"v1","kind":"Pod","metadata":{"name":"{{{name}}}","labels":{{{labels}}}{{{metadata}}}},
         "spec":{{{{(node.Length > 0 ? $"\"nodeName\":\"{node}\"," : "")}}}"containers":[{"name":"c","image":"nginx"}]}}
        """;
}
