// A component that fails, that answers as fc3 does, and that says what it must not.
module.exports = class {
  async getSchema() { return {}; }
  async deploy(input) {
    const { functionName, environmentVariables: env } = input.props;
    console.log('deploying', JSON.stringify(env));
    if (env.MODE === 'throw') {
      throw new Error('ReservedConcurrencyQuotaExceeded ' + JSON.stringify(env));
    }
    return { functionName, url: { system_url: 'https://' + functionName + '.fcapp.run' },
      environmentVariables: env };
  }
};
