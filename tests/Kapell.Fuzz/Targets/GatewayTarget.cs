using System.Text;
using Google.Protobuf;
using Google.Protobuf.Reflection;
using Grpc.Core;
using Kapell.Base;
using Kapell.Etcd.Server.Http.Gateway;
using Kapell.Fuzz.Inputs;

namespace Kapell.Fuzz.Targets;

/// <summary>Bodies of the JSON gateway: the first byte chooses the method. What is accepted is written as JSON again.</summary>
internal sealed class GatewayTarget : FuzzTarget
{
    private static readonly MethodDescriptor[] Methods = [.. Samples.Methods];

    public GatewayTarget() : base("gateway-json")
    {
        Prng prng = new(5);
        Corpus = [.. Methods.SelectMany((m, i) => Enumerable.Range(0, 2).Select(_ =>
            (byte[])[(byte)i, .. Encoding.UTF8.GetBytes(JsonFormatter.Default.Format(Samples.Fill(m.InputType, prng)))]))];
    }

    public override IReadOnlyList<byte[]> Corpus { get; }

    public override bool Run(byte[] input)
    {
        if (input.Length == 0)
        {
            return false;
        }

        try
        {
            IMessage message = GatewayJson.Read(input.AsSpan(1), Methods[input[0] % Methods.Length].InputType);
            return GatewayJson.Write(message, wrapped: false).Length > 0;
        }
        catch (RpcException e) when (e.StatusCode == StatusCode.InvalidArgument)
        {
            return false;
        }
    }
}
