/** The model keeps the contract: otherwise a comparison with it would prove nothing. */
import { startTs, storeContract } from './store-contract.ts';
import { StoreModel } from './store-model.ts';

storeContract('in-memory model', async (options) => {
  const store = new StoreModel(options, startTs);
  const reader = store.reader();
  return {
    store,
    reader,
    reopen: async () => {
      store.restart(startTs);
      return { store, reader };
    },
  };
});
