package platform

import (
	"context"
	"encoding/json"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

// serveLambda polls Lambda's runtime API. The time before the first poll is the platform's
// initialisation.
func (s *server) serveLambda(ctx context.Context) error {
	s.warmUp(ctx)
	go lambda.StartWithOptions(func(ctx context.Context, payload json.RawMessage) (json.RawMessage,
		error) {
		sdk, _ := lambdacontext.FromContext(ctx) // the SDK always puts it there
		ctx, cancel := invocation(ctx, sdk.AwsRequestID, "", "", "")
		defer cancel()
		return s.serveEvent(ctx, payload, lambdaAnswer), nil
	})
	return s.untilStopped(ctx)
}

// lambdaAnswer writes an answer for the function URL.
func lambdaAnswer(a *answer) any {
	out := events.LambdaFunctionURLResponse{StatusCode: a.status, Cookies: a.sent["Set-Cookie"]}
	out.Headers, out.Body, out.IsBase64Encoded = a.eventParts()
	delete(out.Headers, "Set-Cookie")
	return out
}
