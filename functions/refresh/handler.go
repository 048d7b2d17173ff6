// Package refresh is the function that carries an open document on: it takes the AccessToken and
// the sealed RefreshToken of generate's or its own last answer, decides anew, and answers in the
// same form. shared/broker does the work, shared/httpapi the HTTP.
package refresh

import (
	"net/http"

	"weboffice-functions/shared/app"
	"weboffice-functions/shared/httpapi"
	"weboffice-functions/shared/weboffice"
)

// New returns the function's handler.
func New(a *app.App) http.Handler {
	return httpapi.Endpoint[weboffice.RefreshRequest]{
		Edge: a.Edge, Name: "refresh", Decode: weboffice.ParseRefresh, Use: a.Broker.Refresh,
	}
}
