package credentials

import (
	"context"
	"errors"
	"time"

	"github.com/aliyun/credentials-go/credentials/providers"

	"weboffice-functions/shared/weboffice"
)

// ecsLife is how long the provider's credentials live at least: it renews them when 180 seconds are
// left, and does not say when they end.
const ecsLife = 3 * time.Minute

// ecsRole asks an ECS instance's metadata service through the vendor's provider, which takes no
// context and races when it renews: inside the cache it runs once at a time and is waited for with
// a context. It reads two variables by itself, ALIBABA_CLOUD_ECS_METADATA_DISABLED and
// ALIBABA_CLOUD_IMDSV1_DISABLED.
func (v *variables) ecsRole(o Options) Source {
	role := v.need("ALIBABA_CLOUD_ECS_METADATA", noSpaces,
		"give the name of the RAM role that is attached to the instance")
	provider, err := providers.NewECSRAMRoleCredentialsProviderBuilder().WithRoleName(role).Build()
	if err != nil {
		v.problem("ALIBABA_CLOUD_ECS_METADATA_DISABLED is true: " +
			"unset it to use the instance's role")
	}
	name := "RAM role " + role + " of the ECS instance"
	return &cache{fetch: ecsMetadata{provider, o.Now}.fetch, name: name, now: o.Now, log: o.Logger}
}

type ecsMetadata struct {
	provider providers.CredentialsProvider
	now      func() time.Time
}

func (m ecsMetadata) fetch(context.Context) (c Credentials, err error) {
	started := m.now()
	defer func() {
		// The provider follows fields that an answer may lack, and its errors quote the answer.
		if recover() != nil || err != nil || !c.complete() {
			c, err = Credentials{}, unavailable("attach the RAM role that "+
				"ALIBABA_CLOUD_ECS_METADATA names to the instance, and let the function reach the "+
				"metadata service",
				errors.New("no credentials from the ECS metadata service"))
		}
	}()
	got, err := m.provider.GetCredentials()
	if err != nil {
		return c, err
	}
	return Credentials{got.AccessKeyId, weboffice.Secret(got.AccessKeySecret),
		weboffice.Secret(got.SecurityToken), started.Add(ecsLife)}, nil
}
