// grpc-gateway before a server of oracle.proto: the second opinion of oracle.sh.
//
// Usage: grpc-gateway ADDRESS UPSTREAM
package main

import (
	"context"
	"log"
	"net/http"
	"os"

	"oracle/oraclev1"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"
)

func main() {
	// As near to ours as it can be set: unknown fields are refused, defaults are not
	// printed, and an escaped slash in many segments stays one.
	mux := runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, &runtime.JSONPb{
			MarshalOptions:   protojson.MarshalOptions{},
			UnmarshalOptions: protojson.UnmarshalOptions{},
		}),
		runtime.WithUnescapingMode(runtime.UnescapingModeAllExceptSlash),
	)
	options := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
	if err := oraclev1.RegisterOracleHandlerFromEndpoint(context.Background(), mux, os.Args[2], options); err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe(os.Args[1], mux))
}
