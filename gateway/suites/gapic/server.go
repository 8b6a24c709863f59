package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"reflect"
	"sync"

	"github.com/googleapis/gax-go/v2"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/iterator"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// What becomes of a call.
type way string

const (
	fine    way = "answered"
	refused way = "refused"
)

// The HTTP statuses of failures, as google.rpc.Code has them.
var statuses = map[codes.Code]int{
	codes.Canceled: 499, codes.Unknown: 500, codes.InvalidArgument: 400, codes.DeadlineExceeded: 504,
	codes.NotFound: 404, codes.AlreadyExists: 409, codes.PermissionDenied: 403, codes.ResourceExhausted: 429,
	codes.FailedPrecondition: 400, codes.Aborted: 409, codes.OutOfRange: 400, codes.Unimplemented: 501,
	codes.Internal: 500, codes.Unavailable: 503, codes.DataLoss: 500, codes.Unauthenticated: 401,
}

// A server of every method, which answers what it is told to.
type server struct {
	sync.Mutex
	asked   []proto.Message
	answers []proto.Message
	end     error
}

// Serves on a free port of loopback, its contracts by reflection.
func serve(services []protoreflect.ServiceDescriptor) (*server, string) {
	made := &server{}
	server := grpc.NewServer()
	for _, service := range services {
		described := grpc.ServiceDesc{
			ServiceName: string(service.FullName()),
			HandlerType: (*any)(nil),
			Metadata:    service.ParentFile().Path(),
		}
		for nth := range service.Methods().Len() {
			method := service.Methods().Get(nth)
			// On the wire every method is a stream each way.
			described.Streams = append(described.Streams, grpc.StreamDesc{
				StreamName:    string(method.Name()),
				ServerStreams: true,
				ClientStreams: true,
				Handler:       func(_ any, stream grpc.ServerStream) error { return made.answer(method, stream) },
			})
		}
		server.RegisterService(&described, struct{}{})
	}
	reflection.Register(server)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go func() { log.Fatal(server.Serve(listener)) }()
	return made, listener.Addr().String()
}

func (s *server) answer(method protoreflect.MethodDescriptor, stream grpc.ServerStream) error {
	asked := empty(method.Input())
	if err := stream.RecvMsg(asked); err != nil {
		return err
	}
	s.Lock()
	defer s.Unlock()
	s.asked = append(s.asked, asked)
	for _, answer := range s.answers {
		if err := stream.SendMsg(answer); err != nil {
			return err
		}
	}
	return s.end
}

// Makes one call, and tells what is wrong with it.
func (s *server) try(ctx context.Context, random *random, method protoreflect.MethodDescriptor, call reflect.Value, way way) error {
	request := random.request(method)
	answers := []proto.Message{random.answer(method)}
	for method.IsStreamingServer() && len(answers) < 3 {
		answers = append(answers, random.answer(method))
	}
	var end *status.Status
	if way == refused {
		end = random.failure()
		if !method.IsStreamingServer() || random.IntN(2) == 0 {
			answers = nil
		}
	}
	s.Lock()
	s.asked, s.answers, s.end = nil, answers, end.Err()
	s.Unlock()

	never := gax.WithRetry(func() gax.Retryer { return nil })
	got, err := outcome(call.Call([]reflect.Value{reflect.ValueOf(ctx), reflect.ValueOf(request), reflect.ValueOf(never)}))

	s.Lock()
	asked := s.asked
	s.Unlock()
	if len(asked) != 1 {
		return fmt.Errorf("%d requests reached the server, and the client has %v, for %s", len(asked), err, shown(request))
	}
	if !proto.Equal(asked[0], request) {
		return fmt.Errorf("the server was asked\n  %s\ninstead of\n  %s", shown(asked[0]), shown(request))
	}
	if end != nil {
		return differs(err, end, len(answers) > 0)
	}
	if err != nil {
		return fmt.Errorf("the client has %w, for %s", err, shown(answers[0]))
	}
	if len(got) != len(answers) {
		return fmt.Errorf("the client has %d answers instead of %d", len(got), len(answers))
	}
	for nth, answer := range answers {
		if operation, is := got[nth].(interface{ Name() string }); is {
			name := answer.ProtoReflect().Get(answer.ProtoReflect().Descriptor().Fields().ByName("name")).String()
			if operation.Name() != name {
				return fmt.Errorf("the client has the operation %q instead of %q", operation.Name(), name)
			}
		} else if got, is := got[nth].(proto.Message); is && !proto.Equal(got, answer) {
			return fmt.Errorf("the client has\n  %s\ninstead of\n  %s", shown(got), shown(answer))
		}
	}
	return nil
}

// What a method of a client handed out: messages, operations, or nothing for an Empty.
func outcome(results []reflect.Value) ([]any, error) {
	last := results[len(results)-1].Interface()
	if err, is := last.(error); is {
		return nil, err
	}
	first := results[0]
	if len(results) == 1 && first.Kind() == reflect.Interface {
		return []any{nil}, nil
	}
	if next := first.MethodByName("Next"); next.IsValid() {
		for {
			if err, is := next.Call(nil)[1].Interface().(error); is && errors.Is(err, iterator.Done) {
				return []any{first.Elem().FieldByName("Response").Interface()}, nil
			} else if is {
				return nil, err
			}
		}
	}
	receive := first.MethodByName("Recv")
	if !receive.IsValid() {
		return []any{first.Interface()}, nil
	}
	var messages []any
	for {
		received := receive.Call(nil)
		if err, is := received[1].Interface().(error); is && errors.Is(err, io.EOF) {
			return messages, nil
		} else if is {
			return messages, err
		}
		messages = append(messages, received[0].Interface())
	}
}

// How the failure that a client has differs from the server's.
func differs(got error, sent *status.Status, isLate bool) error {
	if got == nil {
		return fmt.Errorf("the client has no error, and %v was sent", sent)
	}
	var failure *googleapi.Error
	if isLate && !errors.As(got, &failure) {
		return nil
	}
	if !errors.As(got, &failure) {
		return fmt.Errorf("the client has %T %w, and no reply", got, got)
	}
	var body struct {
		Error struct {
			Code    int
			Status  string
			Message string
			Details []json.RawMessage
		}
	}
	if err := json.Unmarshal([]byte(failure.Body), &body); err != nil {
		return err
	}
	found := body.Error
	if expected := statuses[sent.Code()]; failure.Code != expected || found.Code != expected {
		return fmt.Errorf("%v came as HTTP %d, code %d", sent, failure.Code, found.Code)
	}
	if found.Message != sent.Message() || failure.Message != sent.Message() {
		return fmt.Errorf("%v came with the message %q", sent, found.Message)
	}
	for _, detail := range sent.Details() {
		is := false
		for _, found := range found.Details {
			read := empty(detail.(proto.Message).ProtoReflect().Descriptor())
			var named struct {
				Type string `json:"@type"`
			}
			_ = json.Unmarshal(found, &named)
			if named.Type != "type.googleapis.com/"+string(read.ProtoReflect().Descriptor().FullName()) {
				continue
			}
			discard := protojson.UnmarshalOptions{DiscardUnknown: true}
			is = is || discard.Unmarshal(found, read) == nil && proto.Equal(read, detail.(proto.Message))
		}
		if !is {
			return fmt.Errorf("the detail %s is not in %s", shown(detail.(proto.Message)), failure.Body)
		}
	}
	return nil
}

func (r *random) failure() *status.Status {
	code := codes.Code(1 + r.IntN(16))
	failure, err := status.New(code, "no "+r.string()).WithDetails(
		&errdetails.ErrorInfo{Reason: "NO", Domain: "retail.example", Metadata: map[string]string{"a b": r.string()}},
		&errdetails.Help{Links: []*errdetails.Help_Link{{Description: r.string(), Url: "https://retail.example"}}},
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "a.b", Description: r.string()}}},
	)
	if err != nil {
		log.Fatal(err)
	}
	return failure
}

func empty(message protoreflect.MessageDescriptor) proto.Message {
	found, err := protoregistry.GlobalTypes.FindMessageByName(message.FullName())
	if err != nil {
		log.Fatal(err)
	}
	return found.New().Interface()
}

func shown(message proto.Message) string {
	return fmt.Sprintf("%s (%x)", message, must(proto.MarshalOptions{Deterministic: true}.Marshal(message)))
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}
