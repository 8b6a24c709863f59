package main

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"strings"

	"cloud.google.com/go/retail/apiv2/retailpb"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// How deep messages nest.
const depthMax = 4

// Pieces of text: what JSON, a query or a path must escape, and what they need not.
var pieces = []string{
	"", "a", "Zz9", " ", "\"", "\\", "/", "%", "%2F", "+", "&", "=", "?", "#", ";", ":", ",", "<b>", "'", "[0]", "a.b",
	"é", "☺", "𝄞", "\u2028", "\n", "\t", "\x01", "\x7f", "null", "true", "-1", "1e3",
}

// Pieces of a segment of a path. A slash in one is lost by the client, and so is a dot alone.
var segments = []string{"a", "Zz9", "-", "_", "~", " ", "é", "☺", "%", "%2F", "\"", "+", "&", "=", ";", "@", "!", "(", "*", "$", "?", "#"}

type random struct{ *rand.Rand }

func hash(name protoreflect.FullName) uint64 {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(name))
	return hash.Sum64()
}

// A request that the client can say by the method's rule.
func (r *random) request(method protoreflect.MethodDescriptor) proto.Message {
	rule := proto.GetExtension(method.Options(), annotations.E_Http).(*annotations.HttpRule)
	request := empty(method.Input())
	r.fill(request.ProtoReflect(), 0)
	fields := method.Input().Fields()
	for nth := range fields.Len() {
		field := fields.Get(nth)
		if field.ContainingOneof() != nil && field.Message() == nil && rule.Body != "*" {
			if value := request.ProtoReflect().Get(field); value.Equal(field.Default()) {
				// In a query the client leaves out what is empty, even if it was chosen.
				request.ProtoReflect().Clear(field)
			}
		}
		switch field.Name() {
		case "page_size":
			// The client takes no other for a size.
			request.ProtoReflect().Set(field, protoreflect.ValueOfInt32(r.Int32N(1000)))
		case "update_mask":
			// Without one the gateway says which fields were sent.
			request.ProtoReflect().Set(field, protoreflect.ValueOfMessage(r.mask().ProtoReflect()))
		}
	}
	if body := fields.ByName(protoreflect.Name(rule.Body)); body != nil && !request.ProtoReflect().Has(body) {
		// For none the client sends an empty one.
		request.ProtoReflect().Mutable(body)
	}
	template := ""
	switch pattern := rule.Pattern.(type) {
	case *annotations.HttpRule_Get:
		template = pattern.Get
	case *annotations.HttpRule_Post:
		template = pattern.Post
	case *annotations.HttpRule_Patch:
		template = pattern.Patch
	case *annotations.HttpRule_Delete:
		template = pattern.Delete
	}
	for _, part := range strings.Split(template, "{")[1:] {
		name, pattern, _ := strings.Cut(strings.Split(part, "}")[0], "=")
		r.bind(request.ProtoReflect(), strings.Split(name, "."), pattern)
	}
	if fields.ByName("page_size") != nil {
		// The client of a list copies it, and Go's copy takes minus zero for nothing.
		return proto.Clone(request)
	}
	return request
}

// Sets a variable of the path.
func (r *random) bind(message protoreflect.Message, path []string, pattern string) {
	field := message.Descriptor().Fields().ByName(protoreflect.Name(path[0]))
	if len(path) > 1 {
		r.bind(message.Mutable(field).Message(), path[1:], pattern)
		return
	}
	var made []string
	for _, segment := range strings.Split(pattern, "/") {
		switch segment {
		case "*", "":
			made = append(made, r.segment())
		case "**":
			for range 1 + r.IntN(3) {
				made = append(made, r.segment())
			}
		default:
			made = append(made, segment)
		}
	}
	message.Set(field, protoreflect.ValueOfString(strings.Join(made, "/")))
}

func (r *random) segment() string {
	made := "x"
	for range r.IntN(4) {
		made += segments[r.IntN(len(segments))]
	}
	return made
}

// An answer of a method.
func (r *random) answer(method protoreflect.MethodDescriptor) proto.Message {
	answer := empty(method.Output())
	r.fill(answer.ProtoReflect(), 0)
	if content, is := answer.(*httpbody.HttpBody); is {
		// HTTP says no more of it.
		return &httpbody.HttpBody{ContentType: "image/gif", Data: content.Data}
	}
	// Or the client would go on.
	if token := method.Output().Fields().ByName("next_page_token"); token != nil {
		answer.ProtoReflect().Clear(token)
	}
	return answer
}

// Fills a message, and its fields.
func (r *random) fill(message protoreflect.Message, depth int) {
	switch known := message.Interface().(type) {
	case *timestamppb.Timestamp:
		known.Seconds, known.Nanos = r.Int64N(315537897600)-62135596800, int32(r.nanos())
		return
	case *durationpb.Duration:
		known.Seconds, known.Nanos = r.Int64N(315576000000), int32(r.nanos())
		if r.IntN(2) == 0 {
			known.Seconds, known.Nanos = -known.Seconds, -known.Nanos
		}
		return
	case *fieldmaskpb.FieldMask:
		proto.Merge(known, r.mask())
		return
	case *structpb.Struct:
		known.Fields = map[string]*structpb.Value{r.string(): r.value(depth), "b": r.value(depth)}
		return
	case *structpb.Value:
		proto.Merge(known, r.value(depth))
		return
	case *anypb.Any:
		// Of a type of the API: others are unknown to who reads its contracts.
		packed := &retailpb.Interval{}
		r.fill(packed.ProtoReflect(), depth+1)
		proto.Merge(known, must(anypb.New(packed)))
		return
	}
	fields := message.Descriptor().Fields()
	for nth := range fields.Len() {
		field := fields.Get(nth)
		if message.Descriptor().FullName() == "google.longrunning.Operation" && field.Name() == "error" {
			continue
		}
		if oneof := field.ContainingOneof(); oneof != nil && message.WhichOneof(oneof) != nil {
			continue
		}
		isNested := field.Message() != nil && !field.IsMap()
		if r.IntN(3) == 0 || isNested && depth >= depthMax {
			continue
		}
		switch {
		case field.IsMap():
			entries := message.Mutable(field).Map()
			for range r.IntN(3) {
				value := entries.NewValue()
				if field.MapValue().Message() != nil {
					if depth < depthMax {
						r.fill(value.Message(), depth+1)
					}
				} else {
					value = r.scalar(field.MapValue())
				}
				entries.Set(r.scalar(field.MapKey()).MapKey(), value)
			}
		case field.IsList():
			list := message.Mutable(field).List()
			for range r.IntN(3) {
				value := list.NewElement()
				if field.Message() != nil {
					r.fill(value.Message(), depth+1)
				} else {
					value = r.scalar(field)
				}
				list.Append(value)
			}
		case field.Message() != nil:
			r.fill(message.Mutable(field).Message(), depth+1)
		default:
			message.Set(field, r.scalar(field))
		}
	}
}

func (r *random) scalar(field protoreflect.FieldDescriptor) protoreflect.Value {
	switch field.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(r.IntN(2) == 0)
	case protoreflect.EnumKind:
		values := field.Enum().Values()
		number := values.Get(r.IntN(values.Len())).Number()
		if r.IntN(8) == 0 {
			// A value of newer contracts.
			number = 2_000_000_000
		}
		return protoreflect.ValueOfEnum(number)
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(int32(r.bits()))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(r.bits()))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(int64(r.bits()))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(r.bits())
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(float32(r.float()))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(r.float())
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(r.string() + "\xff\x00"))
	default:
		return protoreflect.ValueOfString(r.string())
	}
}

// Whole numbers: none, all bits, those of a sign, or any.
func (r *random) bits() uint64 {
	return []uint64{0, 1, math.MaxUint64, math.MaxInt64, math.MaxInt32, 1 << 63, 1 << 31, r.Uint64()}[r.IntN(8)]
}

func (r *random) float() float64 {
	return []float64{
		0, 1, -1.5, 1e-7, 1e21, 123456789.125, math.MaxFloat32, math.SmallestNonzeroFloat64, math.MaxFloat64,
		math.Inf(1), math.Inf(-1), math.NaN(), math.Copysign(0, -1), r.NormFloat64(), 1 / r.Float64(),
	}[r.IntN(15)]
}

func (r *random) string() (made string) {
	for range r.IntN(4) {
		made += pieces[r.IntN(len(pieces))]
	}
	return made
}

func (r *random) nanos() int { return []int{0, 1, 999999999, 500000000, 1000, r.IntN(1e9)}[r.IntN(6)] }

func (r *random) mask() *fieldmaskpb.FieldMask {
	paths := []string{"name", "display_name", "price_info.currency_code", "a1b", "x.y_z.w"}
	return &fieldmaskpb.FieldMask{Paths: paths[r.IntN(len(paths)):]}
}

// A value of JSON; without what has no form in it.
func (r *random) value(depth int) *structpb.Value {
	switch kind := r.IntN(6); {
	case kind == 0 && depth < depthMax:
		return structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{r.string(): r.value(depth + 1)}})
	case kind == 1 && depth < depthMax:
		return structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{r.value(depth + 1), r.value(depth + 1)}})
	case kind == 2:
		return structpb.NewNumberValue(r.NormFloat64())
	case kind == 3:
		return structpb.NewBoolValue(true)
	case kind == 4:
		return structpb.NewNullValue()
	default:
		return structpb.NewStringValue(r.string())
	}
}
