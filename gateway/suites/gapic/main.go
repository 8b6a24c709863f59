// Google's clients for one of their APIs, by REST, against the gateway before a server
// that we make up. What a client is given and what reaches the server are compared, and
// so are what the server answers and what the client hands out.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"reflect"
	"syscall"
	"time"

	retail "cloud.google.com/go/retail/apiv2"
	"google.golang.org/api/option"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// The package whose services are called.
const api = "google.cloud.retail.v2"

// How a client is made, by the short name of its service.
var clients = map[protoreflect.Name]func(context.Context, ...option.ClientOption) (any, error){
	"AnalyticsService":            made(retail.NewAnalyticsRESTClient),
	"CatalogService":              made(retail.NewCatalogRESTClient),
	"CompletionService":           made(retail.NewCompletionRESTClient),
	"ControlService":              made(retail.NewControlRESTClient),
	"ConversationalSearchService": made(retail.NewConversationalSearchRESTClient),
	"GenerativeQuestionService":   made(retail.NewGenerativeQuestionRESTClient),
	"ModelService":                made(retail.NewModelRESTClient),
	"PredictionService":           made(retail.NewPredictionRESTClient),
	"ProductService":              made(retail.NewProductRESTClient),
	"SearchService":               made(retail.NewSearchRESTClient),
	"ServingConfigService":        made(retail.NewServingConfigRESTClient),
	"UserEventService":            made(retail.NewUserEventRESTClient),
}

func made[T any](make func(context.Context, ...option.ClientOption) (*T, error)) func(context.Context, ...option.ClientOption) (any, error) {
	return func(ctx context.Context, options ...option.ClientOption) (any, error) { return make(ctx, options...) }
}

func main() {
	log.SetFlags(0)
	mercat := flag.String("mercat", "", "the program under test")
	rounds := flag.Int("rounds", 20, "how often each method is called in each way")
	seed := flag.Uint64("seed", 1, "what the messages are drawn by")
	flag.Parse()
	ctx, stop := context.WithTimeout(context.Background(), 4*time.Minute)
	defer stop()

	services := services()
	server, upstream := serve(services)
	gateway, end := edge(ctx, *mercat, upstream)
	failures, calls := 0, 0
	for _, service := range services {
		client, err := clients[service.Name()](ctx, option.WithEndpoint("http://"+gateway), option.WithoutAuthentication())
		if err != nil {
			log.Fatal(err)
		}
		for nth := range service.Methods().Len() {
			method := service.Methods().Get(nth)
			call := reflect.ValueOf(client).MethodByName(string(method.Name()))
			if !call.IsValid() {
				log.Fatalf("the client has no method for %s", method.FullName())
			}
			for round := range *rounds {
				for _, way := range []way{fine, refused} {
					// Each case has a seed of its own, so that it is the same when others go.
					random := &random{rand.New(rand.NewPCG(*seed, hash(method.FullName())+uint64(round)))}
					calls++
					if err := server.try(ctx, random, method, call, way); err != nil {
						failures++
						fmt.Printf("FAILED  %s, round %d, %s: %v\n", method.FullName(), round, way, err)
						break
					}
				}
			}
		}
	}
	end()
	fmt.Printf("seed %d: %d calls of %d services, %d failed\n", *seed, calls, len(services), failures)
	if failures > 0 || calls == 0 {
		os.Exit(1)
	}
}

// The services of the API, as its contracts have them.
func services() (found []protoreflect.ServiceDescriptor) {
	protoregistry.GlobalFiles.RangeFilesByPackage(api, func(file protoreflect.FileDescriptor) bool {
		for nth := range file.Services().Len() {
			service := file.Services().Get(nth)
			if clients[service.Name()] == nil {
				log.Fatalf("%s has no client here", service.FullName())
			}
			found = append(found, service)
		}
		return true
	})
	return found
}

// The gateway before a server, as anyone would start it, and how it ends.
func edge(ctx context.Context, mercat, upstream string) (string, func()) {
	gateway := exec.CommandContext(ctx, mercat, "gateway", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--upstream", upstream, "--access", "public",
		"--set", "telemetry.log_format=json")
	gateway.Stdout = os.Stderr
	gateway.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	lines, err := gateway.StderrPipe()
	if err != nil {
		log.Fatal(err)
	}
	if err := gateway.Start(); err != nil {
		log.Fatal(err)
	}
	address := serving(lines)
	for range 300 {
		reply, err := http.Get("http://" + address + "/readyz")
		if err == nil {
			reply.Body.Close()
			if reply.StatusCode == http.StatusOK {
				return address, func() { _ = gateway.Process.Signal(syscall.SIGTERM); _ = gateway.Wait() }
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	log.Fatal("the gateway does not start")
	return "", nil
}

// The address of which the log says that it is served. The rest of the log is passed on.
func serving(lines io.Reader) string {
	scanner := bufio.NewScanner(lines)
	for scanner.Scan() {
		fmt.Fprintln(os.Stderr, scanner.Text())
		var line struct{ Message, Address string }
		if json.Unmarshal(scanner.Bytes(), &line) == nil && line.Message == "the gateway is serving" {
			go func() { _, _ = io.Copy(os.Stderr, lines) }()
			return line.Address
		}
	}
	log.Fatal("the gateway does not start")
	return ""
}
