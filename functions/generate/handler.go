// Package generate is the function that gives a page the right to open one document. It takes the
// parameters of GenerateWebofficeToken in any of the vendor's spellings and answers with Generate's
// own fields, Timeout and Permission. What may be opened by whom stands in the policy;
// shared/broker does the work, shared/httpapi the HTTP.
package generate

import (
	"net/http"

	"weboffice-functions/shared/app"
	"weboffice-functions/shared/httpapi"
	"weboffice-functions/shared/weboffice"
)

// New returns the function's handler.
func New(a *app.App) http.Handler {
	return httpapi.Endpoint[weboffice.Request]{
		Edge: a.Edge, Name: "generate", Decode: weboffice.ParseRequest,
		Use: a.Broker.Generate,
	}
}
