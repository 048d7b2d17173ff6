package platform

import (
	"context"
	"encoding/json"

	"github.com/aliyun/fc-runtime-go-sdk/events"
	"github.com/aliyun/fc-runtime-go-sdk/fc"
	"github.com/aliyun/fc-runtime-go-sdk/fccontext"
)

// serveFunctionCompute polls go1's runtime API. The SDK runs each invocation in its own goroutine
// and logs the platform's markers.
func (s *server) serveFunctionCompute(ctx context.Context) error {
	fc.RegisterInitializerFunction(func(ctx context.Context) {
		ctx, cancel := fcInvocation(ctx)
		defer cancel()
		s.warmUp(ctx)
	})
	// the SDK reports a configured hook without a function as a failure
	fc.RegisterPreStopFunction(func(context.Context) {})
	go fc.Start(func(ctx context.Context, payload []byte) (json.RawMessage, error) {
		ctx, cancel := fcInvocation(ctx)
		defer cancel()
		return s.serveEvent(ctx, payload, fcAnswer), nil
	})
	return s.untilStopped(ctx)
}

func fcInvocation(ctx context.Context) (context.Context, context.CancelFunc) {
	sdk, _ := fccontext.FromContext(ctx) // the SDK always puts it there
	role := sdk.Credentials
	return invocation(ctx, sdk.RequestID, role.AccessKeyId, role.AccessKeySecret,
		role.SecurityToken)
}

// fcAnswer writes an answer for the HTTP trigger.
func fcAnswer(a *answer) any {
	out := events.HTTPTriggerResponse{StatusCode: a.status}
	out.Headers, out.Body, out.IsBase64Encoded = a.eventParts()
	// joined, the commas would spoil them all
	if cookies := a.sent["Set-Cookie"]; len(cookies) > 1 {
		out.Headers["Set-Cookie"] = cookies[0]
	}
	return out
}
