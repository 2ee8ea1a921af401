using Google.Protobuf;
using Google.Protobuf.Reflection;
using Grpc.Core;
using Kapell.Etcd.Protocol.GrpcReflection;

namespace Kapell.Etcd.Server.Rpc;

/// <summary>Tells what the server offers, so that grpcurl and its like need no files.</summary>
internal sealed class GrpcReflectionService : ServerReflection.ServerReflectionBase
{
    private readonly Dictionary<string, FileDescriptor> _files = new(StringComparer.Ordinal);
    private readonly Dictionary<string, FileDescriptor> _symbols = new(StringComparer.Ordinal);
    private readonly string[] _services;

    /// <param name="offered">Files with the services that are bound.</param>
    public GrpcReflectionService(IReadOnlyList<FileDescriptor> offered)
    {
        _services = [.. offered.SelectMany(static f => f.Services).Select(static s => s.FullName).Order(StringComparer.Ordinal)];
        foreach (FileDescriptor file in offered)
        {
            Know(file);
        }
    }

    /// <summary>The same under the name that older tools ask for.</summary>
    public static void BindAlpha(ServiceBinderBase binder, GrpcReflectionService service) => binder.AddMethod(
        new Method<ServerReflectionRequest, ServerReflectionResponse>(
            MethodType.DuplexStreaming, "grpc.reflection.v1alpha.ServerReflection", "ServerReflectionInfo",
            Marshaller(ServerReflectionRequest.Parser), Marshaller(ServerReflectionResponse.Parser)),
        service.ServerReflectionInfo);

    public override async Task ServerReflectionInfo(
        IAsyncStreamReader<ServerReflectionRequest> requestStream,
        IServerStreamWriter<ServerReflectionResponse> responseStream,
        ServerCallContext context)
    {
        HashSet<string> sent = [];
        while (await requestStream.MoveNext(context.CancellationToken))
        {
            ServerReflectionResponse response = Answer(requestStream.Current, sent);
            response.ValidHost = requestStream.Current.Host;
            response.OriginalRequest = requestStream.Current;
            await responseStream.WriteAsync(response, context.CancellationToken);
        }
    }

    private static Marshaller<T> Marshaller<T>(MessageParser<T> parser)
        where T : IMessage<T> => Marshallers.Create(static message => message.ToByteArray(), bytes => parser.ParseFrom(bytes));

    private static ServerReflectionResponse NotFound(string what) => new()
    {
        ErrorResponse = new ErrorResponse { ErrorCode = (int)StatusCode.NotFound, ErrorMessage = what + " not found" },
    };

    private ServerReflectionResponse Answer(ServerReflectionRequest request, HashSet<string> sent)
    {
        switch (request.MessageRequestCase)
        {
            case ServerReflectionRequest.MessageRequestOneofCase.FileByFilename:
                return _files.TryGetValue(request.FileByFilename, out FileDescriptor? named)
                    ? WithDependencies(named, sent)
                    : NotFound(request.FileByFilename);
            case ServerReflectionRequest.MessageRequestOneofCase.FileContainingSymbol:
                return _symbols.TryGetValue(request.FileContainingSymbol, out FileDescriptor? holder)
                    ? WithDependencies(holder, sent)
                    : NotFound(request.FileContainingSymbol);
            case ServerReflectionRequest.MessageRequestOneofCase.ListServices:
                ListServiceResponse list = new();
                list.Service.AddRange(_services.Select(static s => new ServiceResponse { Name = s }));
                return new ServerReflectionResponse { ListServicesResponse = list };
            case ServerReflectionRequest.MessageRequestOneofCase.FileContainingExtension:
                return NotFound(request.FileContainingExtension.ContainingType);
            case ServerReflectionRequest.MessageRequestOneofCase.AllExtensionNumbersOfType:
                return NotFound(request.AllExtensionNumbersOfType);
            default:
                throw new RpcException(new Status(StatusCode.InvalidArgument, "invalid MessageRequest"));
        }
    }

    /// <summary>A file and what it needs, except what went over this stream before.</summary>
    private static ServerReflectionResponse WithDependencies(FileDescriptor file, HashSet<string> sent)
    {
        FileDescriptorResponse response = new() { FileDescriptorProto = { file.SerializedData } };
        sent.Add(file.Name);
        Queue<FileDescriptor> waiting = new(file.Dependencies);
        while (waiting.TryDequeue(out FileDescriptor? next))
        {
            if (sent.Add(next.Name))
            {
                response.FileDescriptorProto.Add(next.SerializedData);
                foreach (FileDescriptor inner in next.Dependencies)
                {
                    waiting.Enqueue(inner);
                }
            }
        }

        return new ServerReflectionResponse { FileDescriptorResponse = response };
    }

    private void Know(FileDescriptor file)
    {
        if (!_files.TryAdd(file.Name, file))
        {
            return;
        }

        foreach (ServiceDescriptor service in file.Services)
        {
            _symbols[service.FullName] = file;
            foreach (MethodDescriptor method in service.Methods)
            {
                _symbols[method.FullName] = file;
            }
        }

        foreach (MessageDescriptor message in file.MessageTypes)
        {
            Know(message, file);
        }

        foreach (EnumDescriptor choice in file.EnumTypes)
        {
            _symbols[choice.FullName] = file;
        }

        foreach (FileDescriptor dependency in file.Dependencies)
        {
            Know(dependency);
        }
    }

    private void Know(MessageDescriptor message, FileDescriptor file)
    {
        _symbols[message.FullName] = file;
        foreach (MessageDescriptor nested in message.NestedTypes)
        {
            Know(nested, file);
        }

        foreach (EnumDescriptor choice in message.EnumTypes)
        {
            _symbols[choice.FullName] = file;
        }
    }
}
